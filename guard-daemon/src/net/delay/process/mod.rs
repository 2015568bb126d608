//! The delay engine as a process of its own (docs/adr/0004): guardd's side. It starts the process
//! with the first queue, ends it with the last, and looks whether it lives.
//!
//! Why a process: a stopped process cannot let go the packets that it holds, and TCP does not send
//! again what still waits in its own host. So neither of the two may be alone with packets. When
//! guardd is stopped, the lease runs out and the engine lets go; when the engine is stopped,
//! guardd ends it, and the kernel gives up its queues. (Both stopped at once, as by the freezer:
//! then packets wait until either goes on.)
//!
//! It never blocks for longer than 2 s (`ANSWER_LIMIT`) on an engine that does not answer, never
//! starts one again by itself, and ends no process but its own child.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{DelayError, DelayProfile, DelayStats};
use crate::telemetry::logs;

mod child;
mod message;
mod running;
mod surroundings;
#[cfg(test)]
mod tests;

pub use child::{EngineError, run};
use message::{Answer, Order};
use running::{END_LIMIT, Running};

/// First argument of guardd that makes it the engine process. Not for people.
pub const ARGUMENT: &str = "__delay-engine";
/// `argv[0]` and name of the process.
const NAME: &str = "guard-delay";

/// The engine process, which runs while it has queues. Dropping it ends it; nothing it holds is
/// lost then, unless it does not answer.
#[derive(Debug)]
pub struct DelayProcess {
    command: fn() -> Command,
    running: Option<Running>,
    /// Queues whose process failed, until they are stopped.
    failed: Vec<(u16, String)>,
}

impl Default for DelayProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl DelayProcess {
    /// None yet.
    pub fn new() -> Self {
        Self::with_command(own_binary)
    }

    /// The same with another way to start it.
    fn with_command(command: fn() -> Command) -> Self {
        Self { command, running: None, failed: Vec::new() }
    }

    /// Starts to delay what comes through the first of the kernel's queues `numbers` that can be
    /// had, until `end_ns`; its number. The lease ends at `until_ns`, unless renewed. Both are
    /// CLOCK_BOOTTIME, ns. Waits for each answer, at most 2 s.
    ///
    /// # Errors
    /// [`DelayError::Refused`]: none of the queues can be had. [`DelayError::Process`]: there is
    /// no process that could.
    pub fn start(
        &mut self,
        numbers: impl IntoIterator<Item = u16>,
        profile: DelayProfile,
        end_ns: u64,
        until_ns: u64,
    ) -> Result<u16, DelayError> {
        self.start_first(numbers, |queue| Order::Start {
            queue,
            delay_ns: profile.delay.as_nanos() as u64,
            jitter_ns: profile.jitter.as_nanos() as u64,
            distribution: profile.distribution,
            seed: profile.seed,
            bytes_per_second: profile.bytes_per_second,
            end_ns,
            until_ns,
        })
    }

    /// The same for paced calls, without a deadline: until when each packet is held is in the map
    /// pinned at `flows`.
    ///
    /// # Errors
    /// As [`DelayProcess::start`].
    pub fn start_paced(
        &mut self,
        numbers: impl IntoIterator<Item = u16>,
        flows: &Path,
        until_ns: u64,
    ) -> Result<u16, DelayError> {
        let flows = flows.to_owned();
        self.start_first(numbers, |queue| Order::StartPaced {
            queue,
            flows: flows.clone(),
            until_ns,
        })
    }

    fn start_first(
        &mut self,
        numbers: impl IntoIterator<Item = u16>,
        order: impl Fn(u16) -> Order,
    ) -> Result<u16, DelayError> {
        if self.running.is_none() {
            let running = Running::spawn((self.command)())
                .map_err(|error| DelayError::Process(format!("starting it: {error}")))?;
            tracing::debug!(pid = running.pid(), "delay engine started");
            self.running = Some(running);
        }
        let mut refusal = "no queue number was tried".to_owned();
        for queue in numbers {
            let answered = self.ask(&order(queue), |answer| match answer {
                Answer::Started { queue: of } if of == queue => Ok(Ok(())),
                Answer::Refused { queue: of, why } if of == queue => Ok(Err(why)),
                other => Err(other),
            })?;
            match answered {
                Ok(()) => {
                    self.running.iter_mut().for_each(|running| running.queues.extend([queue]));
                    return Ok(queue);
                }
                Err(why) => refusal = why,
            }
        }
        self.end_if_idle();
        Err(DelayError::Refused(refusal))
    }

    /// Lets everything of a queue go and gives it back; what it did. Ends the process with the
    /// last queue. `None` if it does not run (any more). Waits for the answer, at most 2 s.
    ///
    /// # Errors
    /// [`DelayError::Process`]: the process did not answer, and was ended.
    pub fn stop(&mut self, queue: u16) -> Result<Option<DelayStats>, DelayError> {
        self.failed.retain(|(of, _)| *of != queue);
        let Some(running) = &mut self.running else { return Ok(None) };
        if !running.queues.remove(&queue) {
            return Ok(None);
        }
        running.failed.retain(|(of, _)| *of != queue);
        let stats = self.ask(&Order::Stop { queue }, |answer| match answer {
            Answer::Stopped { queue: of, stats } if of == queue => Ok(stats),
            other => Err(other),
        })?;
        self.end_if_idle();
        Ok(Some(stats))
    }

    /// Moves the end of the lease to `until_ns` (CLOCK_BOOTTIME), to be called several times
    /// within `patience`. A process that has not answered for longer than that is ended. Returns
    /// the queues that do not work any more, and why, until they are stopped. Never waits for an
    /// answer.
    pub fn renew(&mut self, until_ns: u64, patience: Duration) -> Vec<(u16, String)> {
        if let Some(running) = &mut self.running
            && let Err(why) = running.renew(until_ns, patience)
        {
            self.fail(&why);
        }
        let living = self.running.iter().flat_map(|running| &running.failed);
        self.failed.iter().chain(living).cloned().collect()
    }

    /// Sends an order and waits for the answer that `wanted` takes. Without one the process is
    /// ended.
    fn ask<T>(
        &mut self,
        order: &Order,
        wanted: impl Fn(Answer) -> Result<T, Answer>,
    ) -> Result<T, DelayError> {
        let Some(running) = &mut self.running else {
            return Err(DelayError::Process("it does not run".to_owned()));
        };
        match running.ask(order, wanted) {
            Ok(answer) => Ok(answer),
            Err(why) => Err(DelayError::Process(self.fail(&why))),
        }
    }

    /// Ends a process that has failed. Its queues are told by [`DelayProcess::renew`].
    fn fail(&mut self, why: &str) -> String {
        let Some(running) = self.running.take() else { return why.to_owned() };
        let pid = running.pid();
        let queues: Vec<u16> = running.queues.iter().copied().collect();
        let end = running.end(Duration::ZERO);
        let why = format!("process {pid} {why}; {end}");
        tracing::error!(why, ?queues, "delay engine failed");
        self.failed.extend(queues.into_iter().map(|queue| (queue, why.clone())));
        why
    }

    fn end_if_idle(&mut self) {
        if let Some(running) = self.running.take_if(|running| running.queues.is_empty()) {
            let end = running.end(END_LIMIT);
            tracing::debug!(end, "delay engine not needed any more");
        }
    }
}

impl Drop for DelayProcess {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end(END_LIMIT);
        }
    }
}

/// guardd's own binary, also where that was replaced on disk.
fn own_binary() -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Nothing of guardd's environment but what its log lines look like: no socket of systemd's.
    command.arg0(NAME).arg(ARGUMENT).env_clear().envs(logs::environment());
    command
}
