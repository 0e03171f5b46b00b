"""The HTTP client on the wire: HTTP/1.1, HTTP/2, redirects, cookies, decoding and OAuth2."""
