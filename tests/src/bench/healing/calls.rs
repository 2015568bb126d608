//! Failures of a service that an agent calls: down, hanging, resetting, started anew.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use testbed::agent::AgentProcess;
use testbed::cgroup;
use testbed::server::{Behaviour, Server};

use super::follow::{healed, now_ns};
use super::lane::{Lane, NAME};
use super::{Failure, OUTAGE};
use crate::bench::paired::Side;

/// Calls go well for so long before.
const BEFORE: Duration = Duration::from_secs(3);
/// An SDK's own patience with an answer (OpenAI's and Anthropic's for Python: 600 s).
const AGENT_TIMEOUT: &str = "600s";
const CALL_EVERY: &str = "200ms";

pub(super) fn run(failure: Failure, side: Side) -> Result<Option<Duration>> {
    let mut server = Server::loopback()?;
    let address = server.address()?;
    let rule = match failure {
        Failure::Hang => {
            "[[recovery]]\nname = \"hang\"\n\
             when = { bulkhead = \"work\", service = \"api\", stalled_for = \"5s\" }\n\
             steps = [ { end_call = {} } ]\n"
        }
        // What guard does by itself.
        _ => "",
    };
    let lane = Lane::start(side, |_| {
        format!(
            "[services.api]\nendpoints = [\"{address}\"]\nclass = \"llm\"\n\
             [bulkheads.{NAME}]\n{rule}"
        )
    })?;
    let target = format!("http://{address}/");
    let agent = AgentProcess::start(
        &[
            "--target",
            &target,
            "--interval",
            CALL_EVERY,
            "--timeout",
            AGENT_TIMEOUT,
            "--keep-alive",
        ],
        |command| cgroup::wrap(lane.cgroup(), &command),
    )?;
    thread::sleep(BEFORE);
    match failure {
        Failure::Down => {
            server.refuse();
            server.reset_all();
            thread::sleep(OUTAGE);
            server.listen()?;
        }
        Failure::Hang => during(&server, Behaviour::Hang),
        Failure::Stale => {
            // The kernel of a server that was started anew knows nothing of the old connections.
            server.refuse();
            server.close_all();
            server.listen()?;
        }
        _ => during(&server, Behaviour::ResetAfterRequest),
    }
    let took = healed(&agent, now_ns());
    drop(agent);
    lane.finish()?;
    Ok(took)
}

fn during(server: &Server, behaviour: Behaviour) {
    server.set(behaviour);
    thread::sleep(OUTAGE);
    server.set(Behaviour::answer(200, 16));
}
