//! The drills of configs/drills, as they are shipped but for their times: each against servers and
//! agents that fit it, with the verdict that it must come to; and those that must deviate, because the agent,
//! or the configuration, does not cope.

mod agents;
mod shorten;
mod stage;

use agents::{brisk, careless, impatient, patient, pooling, resigned, resolving};
use shorten::shipped;
use stage::{Row, held, play};

/// Links that are bad.
const LINKS: [Row; 4] = [
    held(shipped!("slow"), patient),
    held(shipped!("lossy"), patient),
    held(shipped!("bursty"), patient),
    held(shipped!("flaky"), patient),
];

/// Services that are away.
const OUTAGES: [Row; 4] = [
    held(shipped!("refused"), brisk),
    held(shipped!("outage-5s"), patient),
    held(shipped!("outage-35s"), brisk),
    held(shipped!("outage-3min"), brisk),
];

/// What goes silent.
const SILENCE: [Row; 3] = [
    held(shipped!("blackhole"), brisk),
    held(shipped!("flapping"), pooling),
    Row { server: "answer chunks=8 chunk-delay=40ms", ..held(shipped!("stream-stall"), pooling) },
];

/// MCP servers.
const MCP: [Row; 3] = [
    held(shipped!("mcp-hang"), brisk),
    held(shipped!("mcp-restart"), brisk),
    held(shipped!("orphans"), brisk),
];

/// Connections that are no longer what they seem.
const POOLS: [Row; 3] = [
    held(shipped!("half-dead"), pooling),
    held(shipped!("resets"), pooling),
    held(shipped!("answers-lost"), pooling),
];

/// Who waits, and for what. At most two drills at once hold packets: more are too much for a busy
/// machine with two processors.
const DELAYS: [Row; 2] =
    [held(shipped!("slow-connect"), patient), held(shipped!("slow-model"), patient)];

/// What stands between: a gateway, a thin link, name servers.
const BETWEEN: [Row; 4] = [
    held(shipped!("wedged-gateway"), patient),
    held(shipped!("thin"), patient),
    held(shipped!("dns-silent"), resolving),
    held(shipped!("dns-refused"), resolving),
];

/// Agents and configurations that do not cope.
const DEVIATING: [Row; 4] = [
    // The breaker that the drill wants to see is off.
    Row {
        breakers: "[defaults.breaker]\nmode = \"off\"\n",
        verdict: ("deviated", 1),
        ..held(shipped!("refused"), brisk)
    },
    // One silence of 200 ms opens the breaker, for a day.
    Row {
        breakers: "[defaults.breaker]\nfailure_threshold = 1\nabandoned_after = \"100ms\"\n\
                   open_timeout = \"24h\"\nmax_open_timeout = \"24h\"\n",
        after: Some("4s"),
        verdict: ("deviated", 1),
        ..held(shipped!("outage-5s"), impatient)
    },
    // Each failure leaves children behind; they are still there at the end.
    Row { after: Some("4s"), verdict: ("deviated", 1), ..held(shipped!("orphans"), careless) },
    // Nobody calls any more after the first error: nothing can be said of calls.
    Row {
        after: Some("4s"),
        verdict: ("inconclusive", 5),
        ..held(shipped!("mcp-restart"), resigned)
    },
];

#[test]
fn shipped_drills_of_bad_links() {
    play("shipped_drills_of_bad_links", &LINKS);
}

#[test]
fn shipped_drills_of_outages() {
    play("shipped_drills_of_outages", &OUTAGES);
}

#[test]
fn shipped_drills_of_silence() {
    play("shipped_drills_of_silence", &SILENCE);
}

#[test]
fn shipped_drills_of_mcp_servers() {
    play("shipped_drills_of_mcp_servers", &MCP);
}

#[test]
fn shipped_drills_of_pools() {
    play("shipped_drills_of_pools", &POOLS);
}

#[test]
fn shipped_drills_of_delays() {
    play("shipped_drills_of_delays", &DELAYS);
}

#[test]
fn shipped_drills_of_what_stands_between() {
    play("shipped_drills_of_what_stands_between", &BETWEEN);
}

#[test]
fn agents_that_do_not_cope_fail_shipped_drills() {
    play("agents_that_do_not_cope_fail_shipped_drills", &DEVIATING);
}

/// A file without a row here is a file that nobody has run.
#[test]
fn every_shipped_drill_is_run() {
    let rows = LINKS.iter().chain(&OUTAGES).chain(&SILENCE).chain(&MCP).chain(&POOLS);
    let rows = rows.chain(&DELAYS).chain(&BETWEEN);
    let mut run: Vec<&str> = rows.map(|row| row.drill.name).collect();
    run.sort_unstable();
    if let Some(files) = shorten::files() {
        assert_eq!(run, files);
    }
}
