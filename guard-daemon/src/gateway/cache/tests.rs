//! What is kept, for whom, and until when.

use super::*;

const GRACE: Duration = Duration::from_mins(5);

fn request(uri: &str, headers: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = uri.parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

fn response(headers: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::new(());
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

fn key(bulkhead: u32, request: &Request<()>) -> Key {
    let host = request.headers().get("host").cloned();
    Key { bulkhead, port: 80, host, uri: request.uri().clone() }
}

fn keep(
    cache: &mut Cache,
    bulkhead: u32,
    request: &Request<()>,
    answer: &Response<()>,
    body: &'static str,
    now: SystemTime,
) -> bool {
    let candidate = Candidate::new(key(bulkhead, request), request, answer, now);
    let is_kept = candidate.is_some();
    if let Some(candidate) = candidate {
        cache.keep(candidate, Bytes::from_static(body.as_bytes()));
    }
    is_kept
}

fn stale(
    cache: &mut Cache,
    bulkhead: u32,
    request: &Request<()>,
    now: SystemTime,
) -> Option<String> {
    let answer = cache.stale(&key(bulkhead, request), request, now)?;
    Some(String::from_utf8(answer.into_body().to_vec()).unwrap())
}

fn cache() -> (Cache, SystemTime) {
    (Cache::new(1_024 * 1_024, GRACE), SystemTime::now())
}

#[test]
fn an_answer_is_used_until_its_grace_is_over_and_says_how_old_it_is() {
    let (mut cache, now) = cache();
    let ask = request("/a", &[("host", "a")]);
    assert!(keep(&mut cache, 1, &ask, &response(&[("cache-control", "max-age=100")]), "A", now));
    let later = |seconds| now + Duration::from_secs(seconds);
    let answer = cache.stale(&key(1, &ask), &ask, later(399)).unwrap();
    assert_eq!(answer.headers()["x-guard-stale"], "399");
    assert_eq!(answer.headers()["age"], "399");
    assert_eq!(stale(&mut cache, 1, &ask, later(400)).as_deref(), Some("A"));
    assert_eq!(stale(&mut cache, 1, &ask, later(401)), None);
    let unwilling = request("/a", &[("host", "a"), ("cache-control", "no-cache")]);
    assert_eq!(stale(&mut cache, 1, &unwilling, now), None);
}

#[test]
fn nothing_leaks_between_agents_hosts_or_variants() {
    let (mut cache, now) = cache();
    let of = |language| request("/a", &[("host", "a"), ("accept-language", language)]);
    let varies = response(&[("vary", "Accept-Language")]);
    assert!(keep(&mut cache, 1, &of("de"), &varies, "DE", now));
    assert!(keep(&mut cache, 1, &of("en"), &varies, "EN", now));
    assert_eq!(stale(&mut cache, 1, &of("de"), now).as_deref(), Some("DE"));
    assert_eq!(stale(&mut cache, 1, &of("en"), now).as_deref(), Some("EN"));
    assert_eq!(stale(&mut cache, 1, &of("fr"), now), None);
    assert_eq!(stale(&mut cache, 2, &of("de"), now), None, "another agent");
    let elsewhere = request("/a", &[("host", "b"), ("accept-language", "de")]);
    assert_eq!(stale(&mut cache, 1, &elsewhere, now), None, "another host");
    assert!(keep(&mut cache, 1, &of("de"), &varies, "NEW", now));
    assert_eq!(stale(&mut cache, 1, &of("de"), now).as_deref(), Some("NEW"));
    let any = response(&[("vary", "*")]);
    let ask = request("/star", &[]);
    keep(&mut cache, 1, &ask, &any, "S", now);
    assert_eq!(stale(&mut cache, 1, &ask, now), None);
}

#[test]
fn what_may_not_be_kept_or_not_be_used_stale_is_not() {
    let authorized: &[_] = &[("authorization", "Bearer a")];
    for (request_headers, answer, used_fresh, used_stale) in [
        (&[][..], &[][..], true, true),
        (&[], &[("cache-control", "no-store")], false, false),
        (&[], &[("cache-control", "private, max-age=60")], false, false),
        (&[], &[("set-cookie", "a=b")], false, false),
        (&[], &[("content-type", "text/event-stream")], false, false),
        (&[], &[("cache-control", "max-age=60, must-revalidate")], true, false),
        (&[], &[("cache-control", "max-age=60, stale-if-error=0")], true, false),
        (&[], &[("cache-control", "s-maxage=60")], true, false),
        (&[("cache-control", "no-store")], &[], false, false),
        (authorized, &[("cache-control", "max-age=60")], false, false),
        (authorized, &[("cache-control", "max-age=60, must-revalidate")], false, false),
        (authorized, &[("cache-control", "max-age=60, public")], true, true),
        (authorized, &[("cache-control", "s-maxage=60")], true, false),
    ] {
        let (mut cache, now) = cache();
        keep(&mut cache, 1, &request("/a", request_headers), &response(answer), "A", now);
        let credentials = request_headers.iter().filter(|(name, _)| *name == "authorization");
        let ask = request("/a", &credentials.copied().collect::<Vec<_>>());
        let what = format!("{request_headers:?} {answer:?}");
        assert_eq!(stale(&mut cache, 1, &ask, now).is_some(), used_fresh, "{what}");
        let later = now + Duration::from_secs(100);
        assert_eq!(stale(&mut cache, 1, &ask, later).is_some(), used_stale, "{what}");
    }
}

#[test]
fn only_good_answers_to_get_are_kept_and_changes_forget_them() {
    let (mut cache, now) = cache();
    let ask = request("/a", &[]);
    let mut wrong = response(&[]);
    *wrong.status_mut() = StatusCode::NOT_FOUND;
    assert!(!keep(&mut cache, 1, &ask, &wrong, "no", now));
    let mut post = request("/a", &[]);
    *post.method_mut() = Method::POST;
    assert!(!keep(&mut cache, 1, &post, &response(&[("cache-control", "max-age=9")]), "no", now));
    assert!(keep(&mut cache, 1, &ask, &response(&[]), "A", now));
    cache.forget(&key(1, &ask));
    assert_eq!(stale(&mut cache, 1, &ask, now), None);
    assert_eq!(cache.bytes, 0);
}

#[test]
fn it_never_grows_beyond_its_size_and_the_least_used_goes_first() {
    let now = SystemTime::now();
    let mut cache = Cache::new(20_000, GRACE);
    let body: &'static str = "x".repeat(2_000).leak();
    let ask = |n: u32| request(&format!("/{n}"), &[]);
    for n in 0..50 {
        keep(&mut cache, 1, &ask(n), &response(&[]), body, now);
        assert!(stale(&mut cache, 1, &ask(0), now).is_some(), "used all the time: {n}");
        assert!(cache.bytes <= 20_000);
        let counted: u64 = cache.kept.iter().flat_map(|(_, list)| list).map(|k| k.bytes).sum();
        assert_eq!(cache.bytes, counted);
    }
    assert!(stale(&mut cache, 1, &ask(1), now).is_none());
    let huge: &'static str = "x".repeat(6_000).leak();
    keep(&mut cache, 1, &ask(99), &response(&[]), huge, now);
    assert!(stale(&mut cache, 1, &ask(99), now).is_none(), "more than its share");
}
