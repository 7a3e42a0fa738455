"""POST /auth/token."""

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from app.api.dependencies import Services
from app.api.problems import documented
from app.api.schemas import Credentials, Token
from app.services.tokens import NotAuthenticated

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post("/token", responses=documented(400, 401, 413, 422, 503))
async def get_token(body: Credentials, services: Services) -> Token:
    """Exchange a username and password for a token."""
    try:
        token, expires_at = await services.tokens.issue(body.username, body.password)
    except NotAuthenticated as error:
        raise HTTPException(401, detail=str(error), headers={"WWW-Authenticate": "Bearer"}) from error
    return Token(access_token=token, token_type="bearer", expires_at=expires_at)  # noqa: S106  a scheme, not a secret
