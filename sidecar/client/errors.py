"""Errors of the token client. No message contains a password, a code or a token."""


class TokenError(Exception):
    """Raised if no token is available. The message never contains a password or a token."""

    def retryable(self) -> "TokenError":
        """Return a copy for another caller: an exception that is raised repeatedly keeps every frame alive."""
        return TokenError(str(self))


class SignInRejectedError(TokenError):
    """Raised if the sidecar rejects the sign-in: ``error`` as in RFC 6749, ``description`` from the sidecar."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description

    def retryable(self) -> "SignInRejectedError":
        return SignInRejectedError(self.error, self.description)


class TokenUnavailableError(TokenError):
    """Raised if the sidecar does not respond or asks to wait. Retry after ``retry_after`` seconds."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(what)
        self.retry_after = retry_after

    def retryable(self) -> "TokenUnavailableError":
        return TokenUnavailableError(str(self), self.retry_after)


class StepUpError(TokenError):
    """Raised if a step-up fails. ``code``: of the sidecar's problem, such as ``wrong_code``, or empty."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}" if code else description)
        self.code = code
        self.description = description

    def retryable(self) -> "StepUpError":
        return StepUpError(self.code, self.description)
