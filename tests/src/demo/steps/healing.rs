//! Three failures that heal without a person: a service that goes away and comes back, a call that
//! hangs, and an agent that crashes in its task. Each is detected, diagnosed, acted upon and verified,
//! and its timeline is shown.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testbed::server::{Behaviour, Server};
use testbed::wait;

use super::{Claim, Stage, claim};
use crate::demo::agents::exec;
use crate::demo::setup::{ASSISTANT, DATABASE, WORKER};

const LIMIT: Duration = Duration::from_secs(30);
/// How long the database is away.
const AWAY: Duration = Duration::from_secs(3);
/// After which time breakers probe by themselves: guard's default.
const OPEN_SECONDS: f64 = 60.0;

pub(super) fn run(stage: &mut Stage) -> Result<Vec<Claim>> {
    let mut claims = comes_back(stage)?;
    claims.extend(hangs(stage)?);
    claims.extend(crashes(stage)?);
    Ok(claims)
}

/// The database goes away, its breaker opens; it is used again a moment after it is back.
fn comes_back(stage: &mut Stage) -> Result<Vec<Claim>> {
    let mut server = Server::start(&stage.setup.addresses(DATABASE))?;
    let target = format!("http://{}/", server.address()?);
    let agent = exec(
        &stage.setup,
        "writing",
        &["--target", &target, "--interval", "50ms", "--timeout", "1s"],
    )?;
    wait::until("good calls", LIMIT, || agent.records().len() > 5)?;
    server.refuse();
    stage.screen.wait("the database is away", AWAY)?;
    server.listen()?;
    let (back, before) = (Instant::now(), agent.records().len());
    wait::until("a good call", LIMIT, || {
        agent.records()[before..].iter().any(testbed::agent::Record::is_ok)
    })?;
    let seconds = back.elapsed().as_secs_f64();
    let incident = healed(stage, "database-back")?;
    drop(agent.stop()?);
    Ok(vec![
        claim(
            seconds < 5.0,
            format!("{DATABASE} is back: used before open_timeout ({OPEN_SECONDS:.0} s)"),
            format!("{seconds:.1} s after it was back"),
        ),
        told(&incident, &["detected", "diagnosed", "action", "verified"]),
    ])
}

/// A call that hangs is ended; the next one is answered.
fn hangs(stage: &mut Stage) -> Result<Vec<Claim>> {
    let server = Server::start(&stage.setup.addresses(ASSISTANT))?;
    server.push(Behaviour::Hang);
    let target = format!("http://{}/", server.address()?);
    let agent = exec(
        &stage.setup,
        "research",
        &["--target", &target, "--count", "2", "--timeout", "600s"],
    )?;
    let records = agent.finish(LIMIT)?.0;
    let incident = healed(stage, "assistant-hangs")?;
    let (first, second) = (records.first(), records.get(1));
    let (first, second) = first.zip(second).context("too few calls")?;
    let seconds = first.total_us / 1e6;
    Ok(vec![
        claim(
            !first.is_ok() && second.is_ok() && seconds < 10.0,
            "a call hangs, with a timeout of 600 s: ended, then answered",
            format!("{} after {seconds:.1} s, then {}", first.outcome, second.outcome),
        ),
        told(&incident, &["detected", "diagnosed", "action", "verified"]),
    ])
}

/// The worker is killed in the middle of a write; it goes on from its last good state.
fn crashes(stage: &mut Stage) -> Result<Vec<Claim>> {
    let file = stage.setup.directory.join("task").join("steps");
    let steps = || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.strip_suffix('\n').and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let worker = |stage: &Stage| -> Result<Value> {
        let list = stage.ask(&["agent", "list"])?;
        let all = list["agents"].as_array().context("agent list: no list")?;
        all.iter().find(|agent| agent["name"] == WORKER).cloned().context("no worker")
    };
    wait::until("some work", LIMIT, || steps() > 30)?;
    let pid = worker(stage)?["pid"].as_i64().context("the worker has no process")?;
    let reached = steps();
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    // What is left of a write at the moment of a crash.
    fs::write(&file, "1")?;
    let crashed = Instant::now();
    wait::until("it is further than it was", LIMIT, || steps() > reached)?;
    let seconds = crashed.elapsed().as_secs_f64();
    let said = stage.ctl(&["agent", "list"])?;
    stage.screen.text(&said);
    let after = worker(stage)?;
    Ok(vec![claim(
        after["pid"] != pid && seconds < 15.0,
        format!("{WORKER} crashes at step {reached}: goes on, not from 0"),
        format!("past step {reached} after {seconds:.1} s, restarts {}", after["restarts"]),
    )])
}

/// Shows the incident of a rule, once it has ended.
fn healed(stage: &Stage, rule: &str) -> Result<Value> {
    let mut found = Value::Null;
    wait::until("the end of an incident", LIMIT, || {
        let Ok(answer) = stage.ask(&["incidents"]) else { return false };
        let all = answer["incidents"].as_array().cloned().unwrap_or_default();
        let of = |i: &Value| i["situation"]["rule"] == rule && !i["closed"].is_null();
        found = all.into_iter().rfind(of).unwrap_or_default();
        !found.is_null()
    })?;
    let said = stage.ctl(&["incidents", &found["id"].to_string()])?;
    stage.screen.text(&said);
    Ok(found)
}

/// Its timeline has all of these, in this order.
fn told(incident: &Value, wanted: &[&str]) -> Claim {
    let lines = incident["timeline"].as_array().cloned().unwrap_or_default();
    let kinds: Vec<String> =
        lines.iter().map(|l| l["kind"].as_str().unwrap_or_default().to_owned()).collect();
    let mut rest = kinds.iter();
    let all = wanted.iter().all(|wanted| rest.any(|kind| kind == wanted));
    claim(
        all && incident["closed"]["end"] == "recovered",
        format!("incident {}: {}", incident["id"], wanted.join(", ")),
        kinds.join(", "),
    )
}
