"""One client library, step by step: `client.py KIND URL RETRIES`.

For each line on standard input it makes one call and prints one line of JSON: whether it was
answered, how long it took, and the error as the library reports it, with the errno below it.
"""

import errno
import json
import sys
import time


def requests_(url, retries):
    import requests

    session = requests.Session()
    return lambda: session.get(url, timeout=10).raise_for_status()


def httpx_(url, retries):
    import httpx

    client = httpx.Client(timeout=10)
    return lambda: client.get(url).raise_for_status()


def httpx_patient(url, retries):
    import httpx

    client = httpx.Client(timeout=None)
    return lambda: client.get(url).raise_for_status()


def openai_(url, retries):
    import openai

    client = openai.OpenAI(base_url=url + "v1", api_key="none", max_retries=retries, timeout=60)
    messages = [{"role": "user", "content": "hello"}]
    return lambda: client.chat.completions.create(model="test", messages=messages)


def anthropic_(url, retries):
    import anthropic

    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=retries, timeout=60)
    messages = [{"role": "user", "content": "hello"}]
    return lambda: client.messages.create(model="test", max_tokens=16, messages=messages)


def postgres(url, retries):
    import psycopg

    def call():
        with psycopg.connect(url, connect_timeout=10) as connection:
            assert connection.execute("select 6 * 7").fetchone() == (42,)

    return call


def redis_(url, retries):
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=10)
    return client.ping


KINDS = {
    "requests": requests_,
    "httpx": httpx_,
    "httpx-patient": httpx_patient,
    "openai": openai_,
    "anthropic": anthropic_,
    "postgres": postgres,
    "redis": redis_,
}


def name_of(error):
    """The errno below an error, by name: of the first OSError in its chain, else by its text."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in errno.errorcode:
            return errno.errorcode[error.errno]
        if "refused" in str(error).lower():
            return "ECONNREFUSED"
        error = error.__cause__ or error.__context__
    return ""


def main():
    kind, url, retries = sys.argv[1:]
    call = KINDS[kind](url, int(retries))
    for _ in sys.stdin:
        answer = {"ok": True, "error": "", "errno": ""}
        start = time.perf_counter()
        try:
            call()
        except Exception as error:
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}", "errno": name_of(error)}
        answer["ms"] = (time.perf_counter() - start) * 1e3
        print(json.dumps(answer), flush=True)


main()
