//! `guardctl events --follow`: lines as they come, until one side ends it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::Ordering;

use crate::handler::event;
use crate::rig::{Rig, until};

fn follow(rig: &Rig, arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let before = rig.handler.followers.load(Ordering::SeqCst);
    let mut command = rig.command(&[&["events", "--follow"], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    until("it follows", || rig.handler.followers.load(Ordering::SeqCst) > before);
    (child, lines)
}

fn next(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line
}

#[test]
fn past_events_then_new_ones_until_the_server_ends() {
    let mut rig = Rig::start();
    let (mut child, mut lines) =
        follow(&rig, &["--json", "--limit", "1", "--bulkhead", "research"]);
    let seq = |line: String| -> u64 {
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["seq"].as_u64().unwrap()
    };
    assert_eq!(seq(next(&mut lines)), 3);
    rig.handler.live.send(event(4, "writing")).unwrap();
    rig.handler.live.send(event(5, "research")).unwrap();
    assert_eq!(seq(next(&mut lines)), 5, "4 is of another bulkhead");
    rig.stop();
    assert_eq!(next(&mut lines), "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn text_is_one_line_per_event() {
    let mut rig = Rig::start();
    let (mut child, mut lines) = follow(&rig, &["--limit", "1"]);
    assert_eq!(next(&mut lines), "01-02 03:04:05  call_failed     research/github reset\n");
    rig.stop();
    child.wait().unwrap();
}

#[test]
fn a_client_that_goes_away_is_noticed_while_nothing_happens() {
    let rig = Rig::start();
    let (mut child, mut lines) = follow(&rig, &["--limit", "1"]);
    next(&mut lines);
    assert_eq!(rig.handler.live.receiver_count(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    until("the handler is told", || rig.handler.live.receiver_count() == 0);
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let rig = Rig::start();
    let (mut child, mut lines) = follow(&rig, &["--limit", "1"]);
    next(&mut lines);
    drop(lines);
    rig.handler.live.send(event(4, "research")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
