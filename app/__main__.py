"""`python -m app`: launches a role, or runs an administration command."""

from app.main import main

if __name__ == "__main__":
    main()
