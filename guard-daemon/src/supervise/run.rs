//! The supervisor: one agent, from its first start to its last end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::child::{Agent, guardctl, rotate};
use super::policy::{Decision, Tracker};
use super::report::{End, Report, State};
use super::spec::{AgentSpec, HealthSpec};
use super::tree::{end_all, start_ticks};
use crate::checkpoint;

/// Pause between two looks at the size of the log.
const LOG_LOOK: Duration = Duration::from_secs(5);
/// How long the rest of an agent that has ended by itself may take to end.
const REST_PATIENCE: Duration = Duration::from_secs(2);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Signals that are passed on, and whether they end the supervision.
const SIGNALS: [(Signal, bool); 6] = [
    (Signal::SIGTERM, true),
    (Signal::SIGINT, true),
    (Signal::SIGQUIT, true),
    (Signal::SIGHUP, false),
    (Signal::SIGUSR1, false),
    (Signal::SIGUSR2, false),
];

/// Supervises an agent until it stays ended; the exit code, as of the agent's last end.
///
/// # Errors
/// What keeps it from beginning. What goes wrong later is told, and the agent looked after.
pub async fn supervise(spec: AgentSpec) -> Result<u8, String> {
    let mut supervisor = Supervisor::begin(spec)?;
    Ok(supervisor.run().await)
}

struct Supervisor {
    spec: AgentSpec,
    report: Report,
    tracker: Tracker,
    began: Instant,
    signals: Vec<(Stream, Signal, bool)>,
}

/// Why an agent does not run any more.
enum Over {
    Ended(End),
    /// Somebody asked for it, with this signal.
    Asked(Signal),
}

impl Supervisor {
    fn begin(spec: AgentSpec) -> Result<Self, String> {
        let stream = |number: Signal| {
            signal(SignalKind::from_raw(number as i32))
                .map_err(|error| format!("signal {number} cannot be caught: {error}"))
        };
        let signals = SIGNALS
            .into_iter()
            .map(|(number, ends)| Ok((stream(number)?, number, ends)))
            .collect::<Result<_, String>>()?;
        let boot_id = std::fs::read_to_string(BOOT_ID)
            .map_err(|error| format!("{BOOT_ID}: {error}"))?
            .trim()
            .to_owned();
        let before = spec.report.as_deref().and_then(Report::read);
        let before = before.filter(|report| report.boot_id == boot_id);
        let pid = std::process::id();
        let report = Report {
            boot_id,
            supervisor: (pid, start_ticks(pid).unwrap_or(0)),
            ..before.unwrap_or_default()
        };
        Ok(Self { spec, report, tracker: Tracker::default(), began: Instant::now(), signals })
    }

    async fn run(&mut self) -> u8 {
        let adopted = self.report.agent.take().and_then(|id| Agent::adopt(&self.spec, id));
        let mut agent = match adopted {
            Some(agent) => {
                let message = format!("process {} goes on under a new supervisor", agent.id.0);
                self.running(&agent, "agent_adopted", message);
                Ok(agent)
            }
            None => self.start("agent_started").await,
        };
        loop {
            let started = Instant::now();
            let over = match &mut agent {
                Ok(agent) => self.watch(agent).await,
                Err(why) => Over::Ended(End::NotStarted(why.clone())),
            };
            let end = match over {
                Over::Asked(signal) => {
                    let end = match &mut agent {
                        Ok(agent) => self.stop(agent, signal).await,
                        Err(why) => End::NotStarted(why.clone()),
                    };
                    return self.finish(State::Stopped, &end, "agent_stopped");
                }
                Over::Ended(end) => end,
            };
            self.report.agent = None;
            self.rest(REST_PATIENCE).await;
            let ran = started.elapsed();
            let message = format!("{} after {:.1} s", end.words(), ran.as_secs_f64());
            self.report.last_end = Some(end.clone());
            self.tell("agent_ended", message);
            let (policy, now) = (self.spec.policy.clone(), self.began.elapsed());
            match self.tracker.ended(&policy, end.is_crash(), now, ran, rand::random()) {
                Decision::Stay => return self.finish(State::Ended, &end, "agent_stays_ended"),
                Decision::GiveUp => return self.finish(State::Failed, &end, "agent_failed"),
                Decision::Again(pause) => {
                    self.set(State::Waiting);
                    self.write();
                    if self.asked_within(pause).await {
                        return self.finish(State::Stopped, &end, "agent_stopped");
                    }
                    if end.is_crash() {
                        self.restore().await;
                    }
                    *self.report.restarts.entry(end.reason().to_owned()).or_default() += 1;
                    agent = self.start("agent_restarted").await;
                }
            }
        }
    }

    async fn start(&mut self, kind: &str) -> Result<Agent, String> {
        // Of an earlier life, or of a run that has just ended.
        self.rest(self.spec.stop.timeout).await;
        self.set(State::Starting);
        let agent = Agent::start(&self.spec)?;
        self.running(&agent, kind, format!("process {}", agent.id.0));
        Ok(agent)
    }

    fn running(&mut self, agent: &Agent, kind: &str, message: String) {
        self.report.agent = Some(agent.id);
        self.set(State::Running);
        self.tell(kind, message);
    }

    /// Waits until the agent ends, somebody asks, or its health is gone.
    async fn watch(&mut self, agent: &mut Agent) -> Over {
        let spec = self.spec.clone();
        let mut look_at_log = tokio::time::interval(LOG_LOOK);
        look_at_log.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let unhealthy = health(&spec);
        tokio::pin!(unhealthy);
        loop {
            tokio::select! {
                end = agent.ended(&spec.cgroup) => return Over::Ended(end),
                (signal, ends) = next_signal(&mut self.signals) => {
                    if ends {
                        return Over::Asked(signal);
                    }
                    agent.signal(signal);
                }
                why = &mut unhealthy => {
                    self.tell("agent_unhealthy", why);
                    self.stop(agent, Signal::SIGTERM).await;
                    return Over::Ended(End::Unhealthy);
                }
                _ = look_at_log.tick() => {
                    if let Some(log) = &spec.log {
                        rotate(log);
                    }
                }
            }
        }
    }

    /// Asks the agent to end, by its own stop signal where guardd asks, and by the signal that came
    /// where a person does; kills it after its time.
    async fn stop(&mut self, agent: &mut Agent, came: Signal) -> End {
        self.set(State::Stopping);
        self.write();
        let own = self.spec.stop.signal.parse::<Signal>().unwrap_or(Signal::SIGTERM);
        // A terminal sends its signals to the whole group: the agent has it already.
        let from_terminal = came != Signal::SIGTERM && !self.spec.clean && on_a_terminal();
        if !from_terminal {
            agent.signal(if came == Signal::SIGTERM { own } else { came });
        }
        let cgroup = self.spec.cgroup.clone();
        let patience = self.spec.stop.timeout;
        let ended = tokio::time::timeout(patience, agent.ended(&cgroup)).await;
        let end = if let Ok(end) = ended {
            end
        } else {
            self.tell("agent_killed", format!("it did not end within {patience:?}"));
            agent.signal(Signal::SIGKILL);
            agent.ended(&cgroup).await
        };
        self.report.agent = None;
        self.rest(REST_PATIENCE).await;
        end
    }

    /// Ends what is left in the agent's cgroup.
    async fn rest(&mut self, patience: Duration) {
        let cgroup = self.spec.cgroup.clone();
        let ended = tokio::task::spawn_blocking(move || end_all(&cgroup, patience)).await;
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(why)) => self.tell("agent_rest_spared", why),
            Err(error) => self.tell("agent_rest_spared", format!("guard failed: {error}")),
        }
    }

    /// Puts the last good checkpoint back, after a crash.
    async fn restore(&mut self) {
        let Some(spec) = self.spec.checkpoint.clone().filter(|spec| spec.restore_on_crash) else {
            return;
        };
        let settings = checkpoint::Settings {
            directory: spec.directory,
            paths: spec.paths,
            exclude: Vec::new(),
            keep: 1,
            verify: true,
            max_freeze: Duration::ZERO,
        };
        if checkpoint::newest(&settings.directory).is_none() {
            return;
        }
        let restored =
            tokio::task::spawn_blocking(move || checkpoint::restore(&settings, None)).await;
        match restored {
            Ok(Ok(restored)) => self.tell("agent_restored", restored.words()),
            Ok(Err(error)) => self.tell("agent_not_restored", error.to_string()),
            Err(error) => self.tell("agent_not_restored", format!("guard failed: {error}")),
        }
    }

    /// Waits; true if somebody asked for the end meanwhile.
    async fn asked_within(&mut self, pause: Duration) -> bool {
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return false,
                (_, ends) = next_signal(&mut self.signals) => if ends { return true },
            }
        }
    }

    fn finish(&mut self, state: State, end: &End, kind: &str) -> u8 {
        self.report.agent = None;
        self.report.last_end = Some(end.clone());
        self.set(state);
        let restarts = self.report.restart_count();
        self.tell(kind, format!("{}; {restarts} restarts", end.words()));
        end.exit_code()
    }

    fn set(&mut self, state: State) {
        self.report.state = state;
        self.report.since = jiff::Timestamp::now().to_string();
    }

    /// Says it to whoever reads: the report, and the supervisor's own output where a person is.
    fn tell(&mut self, kind: &str, message: String) {
        if self.spec.report.is_none() && kind != "agent_started" {
            eprintln!("guardctl: {kind}: {message}");
        }
        self.report.note(kind, message);
        self.write();
    }

    fn write(&self) {
        let Some(path) = &self.spec.report else { return };
        if let Err(error) = self.report.write(path) {
            // guardd then knows less; the agent is looked after all the same.
            tracing::warn!(path = %path.display(), %error, "the report cannot be written");
        }
    }
}

fn on_a_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stdin())
}

async fn next_signal(signals: &mut [(Stream, Signal, bool)]) -> (Signal, bool) {
    std::future::poll_fn(|context| {
        for (stream, number, ends) in signals.iter_mut() {
            if stream.poll_recv(context).is_ready() {
                return std::task::Poll::Ready((*number, *ends));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Comes back when the agent's health is gone, and says why.
async fn health(spec: &AgentSpec) -> String {
    let Some(health) = &spec.health else { return std::future::pending().await };
    tokio::time::sleep(health.start_grace).await;
    let mut failures = 0;
    loop {
        match check(spec, health).await {
            Ok(()) => failures = 0,
            Err(why) => {
                failures += 1;
                if failures >= health.failures {
                    return format!("{failures} health checks in a row failed, the last: {why}");
                }
            }
        }
        tokio::time::sleep(health.every).await;
    }
}

/// Runs the health command once, in the agent's cgroup.
async fn check(spec: &AgentSpec, health: &HealthSpec) -> Result<(), String> {
    let mut command = guardctl(spec, &["--in-cgroup"], &health.command)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    match tokio::time::timeout(health.timeout, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            let killed = child.kill().await;
            let also = killed.err().map(|error| format!(", and cannot be killed: {error}"));
            Err(format!("no answer within {:?}{}", health.timeout, also.unwrap_or_default()))
        }
    }
}
