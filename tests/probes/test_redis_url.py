from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from demo import servers as real
from probes.core import Verdict
from probes.kinds.redis import Redis
from probes.kinds.redis.url import read_redis_url
from probes.wire.tls import Tls
from tests.support.engine import Observer


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://u:secret-9@cache/0", "is no Redis URL; write redis://user:password@host:6379/0"),
        ("redis://u:secret-9@cache:port/0", "is no Redis URL"),
        ("redis://u:secret-9@cache/first", "is no Redis URL"),
        ("redis://u:secret-9@cache/-1", "is no Redis URL"),
        ("redis:///0", "is no Redis URL"),
        ("redis://u:secret-9@a:6379,b:6379/0", "names several hosts"),
        ("rediss://u:secret-9@cache/0?ssl_keyfile=x", "ssl_keyfile belongs to an ssl_certfile"),
        ("unix://u:secret-9@cache/run/redis.sock", "is no Redis URL"),
        ("unix://", "is no Redis URL"),
        ("redis-sentinel://u:secret-9@a/0#mymaster", "and sentinel: NAME beside it"),
        ("redis+tls://u:secret-9@cache/0", "write rediss:// instead"),
        ("redis://u:secret-9@cache/0?ssl=true", "write rediss:// instead"),
        ("valkey://u:secret-9@cache/0?tls=1", "write valkeys:// instead"),
        ("rediss://u:secret-9@cache/0?ssl_cert_reqs=CERT_MAYBE", "ssl_cert_reqs is one of none, optional and required"),
        ("rediss://u:secret-9@cache/0?ssl_check_hostname=false", "needs ssl_ca_certs"),
        ("redis://u:secret-9@cache/0?usrname=x", "usrname is no known word in the query of a url; did you mean username?"),
        ("redis://u:secret-9@cache/0?foo=x", "foo is no known word in the query of a url"),
        ("redis://u:12?secret-9=1@cache/0", "is no Redis URL"),
        ("cache:6379", "is no Redis URL"),
    ],
)
def test_a_wrong_url_says_what_to_write(url: str, fault: str) -> None:
    """What can't be read is refused at load, in words that say what to write, and without the password."""
    with pytest.raises(ValidationError) as error:
        Redis.model_validate({"url": url})
    (found,) = error.value.errors(include_input=False, include_context=False)
    assert found["loc"] == ("url",)
    assert fault in found["msg"]
    assert "secret-9" not in str(error.value)


def test_a_url_is_read_whole() -> None:
    """Escapes are decoded, port and database have their defaults, redis-py's own words for TLS are understood."""
    read = read_redis_url("redis://us%40er:p%2Fw@[::1]")
    assert (read.user, read.password, read.host, read.port, read.db, read.tls) == ("us@er", "p/w", "::1", 6379, 0, None)
    assert "p/w" not in repr(read)
    assert read_redis_url("redis://h/3").db == read_redis_url("redis://h/?db=3&socket_timeout=5").db == 3
    assert read_redis_url("rediss://h").tls == Tls()
    assert read_redis_url("rediss://h?ssl_cert_reqs=none").tls == Tls(verify=False)
    assert read_redis_url("redis://h", Tls(minimum="1.3")).tls == Tls(minimum="1.3")


@pytest.mark.parametrize("scheme", ["unix", "redis+unix", "redis+socket", "valkey+unix"])
def test_a_unix_socket_is_a_path(scheme: str) -> None:
    """A Unix socket is written as redis-py and Celery write it; there is no TLS on it, and no endpoint to try."""
    read = read_redis_url(f"{scheme}://u:p@/run/redis/my%20redis.sock?db=3")
    assert (read.socket, read.user, read.password, read.db, read.tls) == ("/run/redis/my redis.sock", "u", "p", 3, None)
    made = Redis.model_validate({"url": f"{scheme}:///run/redis.sock"})
    assert (made.address(), made.endpoint()) == ("unix:///run/redis.sock?db=0", None)


def test_certificates_in_the_query() -> None:
    """The words of redis-py for a client certificate, and for a chain that is verified without the name."""
    read = read_redis_url("rediss://h?ssl_certfile=c.pem&ssl_keyfile=k.pem&ssl_ca_certs=ca.pem&ssl_check_hostname=false")
    assert read.tls == Tls(ca=Path("ca.pem"), cert=Path("c.pem"), key=Path("k.pem"), check_name=False)
    assert read_redis_url("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false").tls == Tls(verify=False)


@pytest.mark.parametrize("written", ["none", "NONE", "CERT_NONE", "ssl.CERT_NONE", "cert_none", "0"])
def test_every_spelling_of_no_verification(written: str) -> None:
    """S12: Celery, Heroku and redis-py spell it differently."""
    assert read_redis_url(f"rediss://h?ssl_cert_reqs={written}").tls == Tls(verify=False)
    assert read_redis_url("rediss://h?skip_verify=true").tls == read_redis_url("rediss://h?verifyPeer=NONE").tls == Tls(verify=False)


@pytest.mark.parametrize("written", ["required", "CERT_REQUIRED", "ssl.CERT_REQUIRED", "optional", "CERT_OPTIONAL", "2"])
def test_every_spelling_of_verification(written: str) -> None:
    """S12: what requires a certificate verifies it."""
    assert read_redis_url(f"rediss://h?ssl_cert_reqs={written}&ssl_check_hostname=true").tls == Tls()


@pytest.mark.parametrize(
    ("url", "user", "password", "db", "encrypted"),
    [
        ("redis://h?username=u&password=p", "u", "p", 0, False),
        ("redis://v:w@h/2?username=u&password=p", "v", "w", 2, False),
        ("valkey://u:p@h/1", "u", "p", 1, False),
        ("valkeys://u:p@h", "u", "p", 0, True),
        ("rediss://h?password=p&ssl=true&family=6&decode_responses=true&protocol=3&db=4", "", "p", 4, True),
        ("redis://h:6379/?tls=false&pool_size=5&dial_timeout=3&read_timeout=1", "", "", 0, False),
    ],
)
def test_urls_as_platforms_hand_them_out(url: str, user: str, password: str, db: int, encrypted: bool) -> None:  # noqa: FBT001 - a row
    """S12: credentials may stand in the query, Valkey has schemes of its own, and words for a client are passed over."""
    read = read_redis_url(url)
    assert (read.user, read.password, read.db, read.tls is not None) == (user, password, db, encrypted)


async def test_credentials_in_the_query_log_in(runs: Observer, redis_server: real.RedisServer) -> None:
    """S12: ?username=&password= is who the check logs in as, and not the default user; the password is told nowhere."""
    url = urlsplit(redis_server.url)
    where = f"valkey://{url.hostname}:{url.port}"
    seen = await runs.observe(Redis.model_validate({"url": f"{where}?username={url.username}&password={url.password}", "round_trip": True}))
    assert (seen.verdict, seen.reason) == (Verdict.PASS, None), seen.message
    seen = await runs.observe(Redis.model_validate({"url": f"{where}?username={url.username}&password=wrong-9"}))
    assert seen.message.startswith("login refused for user outrider: WRONGPASS")
    assert "wrong-9" not in repr(seen)
