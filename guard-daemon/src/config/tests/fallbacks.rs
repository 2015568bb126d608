//! Fallbacks: what is read, and what is refused because it cannot work.

use super::*;
use crate::plan::Fallback;

fn service(more: &str) -> String {
    format!(
        "[daemon]\nmetrics_listen = \"127.0.0.1:9729\"\n[services.a]\n\
         endpoints = [\"10.0.0.0/8:80\", \"api.example.com:8080\"]\n{more}\n[bulkheads.b]\n"
    )
}

#[test]
fn one_a_list_and_a_directory() {
    let places = |more: &str| {
        let loaded = parse("guard.toml", &service(more)).unwrap_or_else(|e| panic!("{e}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        loaded.plan.services[0].fallback.clone()
    };
    let one = places("fallback = \"127.0.0.1:9000\"");
    assert_eq!(one.places, [Fallback::Address("127.0.0.1:9000".parse().unwrap())]);
    assert_eq!(one.check_every, std::time::Duration::from_secs(5));
    let list = places("fallback = [\"[::1]:9001\", \"static:/sys\"]\nfallback_check = \"1s\"");
    assert_eq!(list.places[1], Fallback::Static("/sys".into()));
    assert_eq!((list.places.len(), list.check_every.as_secs()), (2, 1));
    assert!(places("").places.is_empty());
}

#[test]
fn what_cannot_work_is_refused() {
    for (more, says) in [
        ("fallback = []", "`services.a.fallback` is empty"),
        ("fallback = 9000", "must be a fallback such as"),
        ("fallback = \"localhost:9000\"", "is not an address with a port"),
        ("fallback = [\"127.0.0.1:9000\", \"static:srv\"]", "must be an absolute path"),
        ("fallback = \"10.1.2.3:80\"", "10.1.2.3:80 is the service itself"),
        ("fallback = \"[::ffff:10.1.2.3]:80\"", "is the service itself"),
        ("fallback = \"127.0.0.1:9729\"", "is guard's own /metrics"),
        ("fallback = [\"[::1]:1\", \"[::1]:1\"]", "[::1]:1 is listed twice"),
        ("fallback = \"127.0.0.1:0\"", "has port 0"),
        ("fallback = \"0.0.0.0:9000\"", "that nobody answers at"),
        ("protocol = \"tls\"\nfallback = \"127.0.0.1:1\"", "without a certificate for its name"),
        (
            "protocol = \"tls\"\nfallback_tls = \"same_certificate\"\nfallback = \"static:/srv\"",
            "files can be served for plain HTTP only",
        ),
    ] {
        let found = brief(&service(more));
        assert!(found.len() == 1 && found[0].contains(says), "{more}: {found:?}");
    }
}

#[test]
fn tls_is_believed_where_the_file_says_that_the_certificate_covers_it() {
    let warnings = |more: &str| {
        let text = service(more).replace(":8080", ":443");
        parse("guard.toml", &text).unwrap_or_else(|e| panic!("{e}")).warnings.len()
    };
    let line = "fallback = \"127.0.0.1:9000\"";
    assert_eq!(warnings(line), 1, "port 443 is mostly TLS");
    assert_eq!(warnings(&format!("{line}\nprotocol = \"http\"")), 0);
    for protocol in ["tls", "auto"] {
        let more =
            format!("{line}\nprotocol = \"{protocol}\"\nfallback_tls = \"same_certificate\"");
        assert_eq!(warnings(&more), 0, "{protocol}");
    }
}

#[test]
fn directories_that_do_not_answer_are_warned_of() {
    let warnings = |line: &str| -> Vec<String> {
        let loaded = parse("guard.toml", &service(line)).unwrap_or_else(|e| panic!("{e}"));
        loaded.warnings.iter().map(|warning| warning.message.clone()).collect()
    };
    let missing = warnings("fallback = \"static:/nonexistent/of/guard\"");
    assert!(missing.len() == 1 && missing[0].contains("No such file"), "{missing:?}");
    let file = warnings("fallback = \"static:/proc/version\"");
    assert!(file.len() == 1 && file[0].contains("Not a directory"), "{file:?}");
    let second = warnings("fallback = [\"static:/sys\", \"static:/proc\"]");
    assert!(second.len() == 1 && second[0].contains("never used"), "{second:?}");
}

#[test]
fn a_gateway_and_what_it_cannot_do() {
    let loaded = |more: &str| parse("guard.toml", &service(more)).unwrap_or_else(|e| panic!("{e}"));
    let of = |more: &str| loaded(more).plan.services[0].gateway;
    assert_eq!(of(""), None);
    assert_eq!(of("gateway = false"), None);
    let plain = of("gateway = true").unwrap();
    assert_eq!((plain.stale_if_error, plain.cache_bytes_max), (None, 64 << 20));
    let keeping =
        of("gateway = true\nstale_if_error = \"5m\"\ngateway_cache_max = \"1MiB\"").unwrap();
    assert_eq!(keeping.stale_if_error, Some(std::time::Duration::from_mins(5)));
    assert_eq!(keeping.cache_bytes_max, 1 << 20);
    for (more, what) in [
        ("stale_if_error = \"5m\"", "without a gateway"),
        ("gateway = true\ngateway_cache_max = \"1MiB\"", "does nothing"),
    ] {
        let warnings = loaded(more).warnings;
        assert!(warnings.len() == 1 && warnings[0].message.contains(what), "{warnings:?}");
    }
    let tls = service("gateway = true\nprotocol = \"tls\"\nstale_if_error = \"5m\"");
    let error = parse("guard.toml", &tls).err().unwrap().to_string();
    assert!(error.contains("reads plain HTTP alone"), "{error}");
}
