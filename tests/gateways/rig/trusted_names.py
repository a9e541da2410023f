"""Request headers that back ends accept as an identity, as other products set them. Gateways remove them from clients'
requests.

The shipped configurations remove all of them, and their aliases: a back end that derives variable names (CGI, WSGI,
PHP) reads ``X_Remote.User`` as ``X-Remote-User``.
"""

import re

OURS = ("X-Auth-User", "X-Auth-Email", "X-Auth-Role", "X-Auth-Account", "X-Auth-Section", "X-Auth-Action")

TRUSTED = (
    # RFC 3875, httpoxy; Apache, CAS, Shibboleth, Authelia
    *("Remote-User", "Remote-Name", "Remote-Email", "Remote-Group", "Remote-Groups", "Remote-Role", "Remote-Roles"),
    *("X-Remote-User", "X-Remote-Name", "X-Remote-Email", "X-Remote-Group", "X-Remote-Groups"),
    *("Proxy", "Proxy-Authorization", "X-Proxy-User", "Auth-User", "Auth-Email", "User-Id", "Username"),
    # oauth2-proxy, Pomerium, Vouch, authentik
    *("X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Name", "X-Forwarded-Groups", "X-Forwarded-Roles"),
    *("X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Forwarded-Id-Token"),
    *("X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Redirect"),
    *("X-Auth-Request-Preferred-Username", "X-Auth-Request-Access-Token"),
    *("X-Pomerium-Jwt-Assertion", "X-Pomerium-Claim-Email", "X-Pomerium-Claim-User", "X-Pomerium-Claim-Groups"),
    *("X-Vouch-User", "X-Vouch-Idp-Accesstoken", "X-Vouch-Idp-Idtoken"),
    *("X-Authentik-Username", "X-Authentik-Email", "X-Authentik-Name", "X-Authentik-Groups", "X-Authentik-Uid"),
    # The sidecar's own
    *("X-Auth-Reason", "X-Auth-Generation", "X-Auth-Username", "X-Auth-User-Id", "X-Auth-Userid", "X-Auth-Id"),
    *("X-Auth-Name", "X-Auth-Roles", "X-Auth-Group", "X-Auth-Groups", "X-Auth-Sub", "X-Auth-Subject", "X-Auth-Scope"),
    *("X-Auth-Scopes", "X-Auth-Tenant", "X-Auth-Token", "X-Auth-Admin", "X-Auth-Permissions", "X-Auth-Session"),
    # Kong, Grafana, Tailscale, mod_auth_openidc, Kubernetes
    *("X-Consumer-Id", "X-Consumer-Username", "X-Consumer-Custom-Id", "X-Consumer-Groups", "X-Credential-Identifier"),
    *("X-Authenticated-Userid", "X-Authenticated-User", "X-Authenticated-Email", "X-Authenticated-Groups"),
    *("X-Authenticated-Scope", "X-Anonymous-Consumer", "X-Userinfo", "X-Id-Token", "X-Access-Token"),
    *("X-Webauth-User", "X-Webauth-Email", "X-Webauth-Name", "X-Webauth-Groups", "X-Webauth-Role"),
    *("Tailscale-User-Login", "Tailscale-User-Name", "Tailscale-User-Profile-Pic"),
    *("Oidc-Claim-Sub", "Oidc-Claim-Email", "Oidc-Claim-Preferred-Username", "Oidc-Access-Token", "Oidc-Id-Token"),
    *("Impersonate-User", "Impersonate-Group", "Impersonate-Uid"),
    # Google, Cloudflare, Azure, Amazon
    *("X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-Id", "X-Goog-Iap-Jwt-Assertion"),
    *("Cf-Access-Authenticated-User-Email", "Cf-Access-Jwt-Assertion"),
    *("X-Ms-Client-Principal", "X-Ms-Client-Principal-Id", "X-Ms-Client-Principal-Name", "X-Ms-Client-Principal-Idp"),
    *("X-Ms-Token-Aad-Id-Token", "X-Ms-Token-Aad-Access-Token"),
    *("X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Accesstoken"),
    # A client's certificate, verified by the gateway in front
    *("X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Client-Cert"),
    *("X-Arr-Clientcert", "X-Ssl-Cert", "X-Ssl-Client-Cert", "X-Ssl-Client-Dn", "X-Ssl-Client-S-Dn"),
    *("X-Ssl-Client-Verify", "Ssl-Client-Cert", "Ssl-Client-Verify", "Ssl-Client-Subject-Dn", "Ssl-Client-Issuer-Dn"),
    # In-house names
    *("X-User", "X-User-Id", "X-Userid", "X-User-Name", "X-User-Email", "X-User-Role", "X-User-Roles"),
    *("X-User-Groups", "X-Username", "X-Email", "X-Role", "X-Roles", "X-Groups", "X-Is-Admin", "X-Jwt-Assertion"),
    *("X-Account", "X-Account-Id", "X-Tenant", "X-Tenant-Id", "X-Logged-In-User", "X-Current-User"),
)

ALIASES = "!#$%&'*+.^_`|~"
"""Characters of a header name beside letters, digits and the hyphen (RFC 9110): such a back end reads each
as a hyphen.
"""

NEVER = re.compile(
    "|".join(
        (
            r"authorization|proxy-authorization|http2-settings|x-http-method(-override)?|x-method-override",
            r"x-original-.*|x-rewrite-url|x-forwarded-(uri|method|prefix)",
            r"x-auth-(?!(user|email|role|account|section|action)$).*",
            *map(str.lower, TRUSTED),
        )
    )
)


def read_by_a_back_end(name: str) -> str:
    """Return the name in lower case, each alias of the hyphen a hyphen."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())
