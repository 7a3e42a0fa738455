"""The keeper role: small loops that keep the books true, one file a duty, one active process."""
