//! Requests that `guardctl` would never send.

use guard_daemon::control::BODY_LIMIT_BYTES;
use serde_json::Value;

use crate::rig::Rig;

/// Status and body of an answer that must be an ErrorBody with exit code 2.
fn refused(rig: &Rig, request: &str) -> (u16, String) {
    let answer = rig.raw(request.as_bytes());
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(body["exit_code"], 2, "{answer}");
    (status, body["error"].as_str().unwrap().to_owned())
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: guardd\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn unknown_paths_methods_and_parameters() {
    let rig = Rig::start();
    let (status, error) = refused(&rig, "GET /v1/nothing HTTP/1.1\r\nHost: guardd\r\n\r\n");
    assert_eq!((status, error.as_str()), (404, "guardd knows no GET /v1/nothing"));
    let (status, error) = refused(&rig, "DELETE /v1/status HTTP/1.1\r\nHost: guardd\r\n\r\n");
    assert_eq!((status, error.as_str()), (405, "/v1/status does not take DELETE"));
    let (status, error) =
        refused(&rig, "GET /v1/events?folow=true HTTP/1.1\r\nHost: guardd\r\n\r\n");
    assert_eq!(status, 400);
    assert!(error.contains("folow"), "{error}");
    let (status, error) = refused(&rig, "DELETE /v1/faults/one HTTP/1.1\r\nHost: guardd\r\n\r\n");
    assert_eq!(status, 400);
    assert!(error.contains("\"one\" is not the id of a fault"), "{error}");
}

#[test]
fn bodies_that_are_not_what_they_should_be() {
    let rig = Rig::start();
    let (status, error) = refused(&rig, &post("/v1/halt", "{\"reason\": "));
    assert_eq!(status, 400);
    assert!(error.contains("EOF") && error.contains("line 1"), "{error}");
    let (status, error) = refused(&rig, &post("/v1/halt", r#"{"reason":"x","resaon":"y"}"#));
    assert_eq!(status, 400);
    assert!(error.contains("unknown field `resaon`"), "{error}");
    let (status, error) = refused(&rig, &post("/v1/faults", r#"{"bulkhead":"b"}"#));
    assert_eq!(status, 400);
    assert!(error.contains("missing field `duration_seconds`"), "{error}");
    let (status, _) = refused(&rig, &post("/v1/halt", r#"{"reason":"  "}"#));
    assert_eq!(status, 400);
    let (status, _) = refused(&rig, &post("/v1/bulkheads/research/join", r#"{"pids":[0]}"#));
    assert_eq!(status, 400);
    assert!(rig.handler.halts.lock().unwrap().is_empty());
    assert!(rig.handler.joined.lock().unwrap().is_empty());
}

#[test]
fn bodies_up_to_the_limit_and_beyond() {
    let rig = Rig::start();
    let frame = r#"{"reason":""}"#.len();
    let largest = format!(r#"{{"reason":"{}"}}"#, "x".repeat(BODY_LIMIT_BYTES - frame));
    assert_eq!(largest.len(), BODY_LIMIT_BYTES);
    let answer = rig.raw(post("/v1/halt", &largest).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", &answer[..100]);
    let (status, error) = refused(&rig, &post("/v1/halt", &format!("{largest} ")));
    assert_eq!(status, 413);
    assert!(error.contains("65536 bytes"), "{error}");
    let chunk = format!("{:x}\r\n{largest}\r\n", largest.len());
    let chunked = format!(
        "POST /v1/halt HTTP/1.1\r\nHost: guardd\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert_eq!(refused(&rig, &chunked).0, 413);
    assert_eq!(rig.handler.halts.lock().unwrap().len(), 1);
}

#[test]
fn a_handler_that_fails_takes_nothing_with_it() {
    let rig = Rig::start();
    let answer = rig.run(&["move", "panic", "1"]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.err.contains("a bug"), "{}", answer.err);
    assert_eq!(rig.run(&["status"]).code, Some(0));
}

#[test]
fn what_is_not_http_is_hung_up_on() {
    let rig = Rig::start();
    let answer = rig.raw(b"\x16\x03\x01 hello\r\n\r\n");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(rig.run(&["status"]).code, Some(0));
}
