//! `guardctl fault`: inject (and wait), list, clear.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::super::cli::{FaultCommand, InjectArgs};
use super::super::client::Client;
use super::super::interrupt::Interrupt;
use super::super::output::Output;
use super::super::view;
use crate::control::api::{ErrorBody, FaultRecord, Faults};

const POLL: Duration = Duration::from_millis(250);
/// A fault that guardd still lists so long after its end will not be waited for.
const OVERTIME: Duration = Duration::from_secs(10);

const ENDED_EARLY: u8 = 1;
const INCONCLUSIVE: u8 = 5;

pub(super) async fn run(
    client: &Client,
    command: FaultCommand,
    output: &Output,
) -> Result<u8, ErrorBody> {
    match command {
        FaultCommand::Inject(arguments) => inject(client, &arguments, output).await,
        FaultCommand::List => {
            let answer: Faults = client.get("/v1/faults").await?;
            output.answer(&answer, |look| view::fault_list(&answer, look))?;
            Ok(0)
        }
        FaultCommand::Clear { id, .. } => {
            let target =
                id.map_or_else(|| "/v1/faults".to_owned(), |id| format!("/v1/faults/{id}"));
            let answer: Faults = client.delete(&target).await?;
            output.answer(&answer, |look| view::faults_cleared(&answer, look))?;
            Ok(0)
        }
    }
}

async fn inject(client: &Client, arguments: &InjectArgs, output: &Output) -> Result<u8, ErrorBody> {
    let request = arguments.request();
    // Before the fault is there, so that Ctrl-C cannot fall in between.
    let interrupted = arguments.wait.then(Interrupt::new).transpose()?;
    let fault: FaultRecord = client.post("/v1/faults", &request).await?;
    let (start_after, now) = (request.start_after_seconds, Timestamp::now());
    let Some(interrupted) = interrupted else {
        output.answer(&fault, |look| view::fault_started(&fault, start_after, now, look))?;
        return Ok(0);
    };
    output.remark(|look| view::fault_started(&fault, start_after, now, look))?;
    let ended = wait(client, fault, interrupted).await?;
    let exit_code = verdict(&ended);
    output.answer(&ended, |look| view::fault_ended(&ended, exit_code, look))?;
    Ok(exit_code)
}

/// Polls until the fault has ended; Ctrl-C ends it.
async fn wait(
    client: &Client,
    mut last: FaultRecord,
    mut interrupted: Interrupt,
) -> Result<FaultRecord, ErrorBody> {
    let id = last.id;
    let remaining = Duration::try_from_secs_f64(last.remaining_seconds).unwrap_or_default();
    let latest_end = Instant::now() + remaining + OVERTIME;
    while last.state != "ended" {
        if Instant::now() > latest_end {
            return Err(ErrorBody {
                error: format!(
                    "fault {id} should have ended, but guardd still lists it as {}",
                    last.state
                ),
                help: format!("guardctl fault clear {id}; journalctl -u guardd -n 50"),
                exit_code: 1,
            });
        }
        let faults: Faults = tokio::select! {
            () = sleep(POLL) => client.get("/v1/faults").await?,
            () = interrupted.wait() => client.delete(&format!("/v1/faults/{id}")).await?,
        };
        last = match faults.faults.into_iter().find(|fault| fault.id == id) {
            Some(fault) => fault,
            // No longer listed: it ended after the last look.
            None => FaultRecord { state: "ended".into(), remaining_seconds: 0.0, ..last },
        };
    }
    Ok(last)
}

fn verdict(fault: &FaultRecord) -> u8 {
    if !matches!(fault.ended.as_str(), "" | "done") {
        return ENDED_EARLY;
    }
    // In monitor mode everything that matched was left alone.
    if fault.counters.matched <= fault.counters.would_have { INCONCLUSIVE } else { 0 }
}
