//! HTTP requests, commands and queries of steady states: run again and again beside the drill, so that a slow
//! one cannot keep an abort condition from being seen. It keeps results and judges nothing.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::super::spec::Probe;
use super::{http, judge, promql};

/// Rest between two tries.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Results of one probe.
#[derive(Clone, Debug, Default)]
pub(super) struct Tries {
    /// How often it was tried.
    pub(super) count: u64,
    /// What the last try gave.
    pub(super) last: Option<Try>,
    /// The first try that was not as asked: when, since the start of the drill, and what it gave.
    pub(super) first_miss: Option<(Duration, String)>,
    /// What the first try gave that could not be told.
    pub(super) first_unknown: Option<String>,
}

/// Whether as asked (`None` = it cannot be told), and what came, for people.
pub(super) type Try = (Option<bool>, String);

/// A probe that runs until this is dropped.
pub(super) struct Prober {
    tries: Arc<Mutex<Tries>>,
    task: JoinHandle<()>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// `None` for probes that look at guardd's counters and need no process or connection.
    pub(super) fn start(probe: &Probe, began: Instant) -> Option<Self> {
        if !matches!(probe, Probe::Http { .. } | Probe::Promql { .. } | Probe::Command { .. }) {
            return None;
        }
        let tries = Arc::new(Mutex::new(Tries::default()));
        let (probe, to) = (probe.clone(), Arc::clone(&tries));
        let task = tokio::spawn(async move {
            loop {
                let (met, what) = once(&probe).await;
                {
                    let mut tries = to.lock().unwrap_or_else(PoisonError::into_inner);
                    tries.count += 1;
                    if met == Some(false) && tries.first_miss.is_none() {
                        tries.first_miss = Some((began.elapsed(), what.clone()));
                    }
                    if met.is_none() && tries.first_unknown.is_none() {
                        tries.first_unknown = Some(what.clone());
                    }
                    tries.last = Some((met, what));
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
        Some(Self { tries, task })
    }

    /// What it gave so far.
    pub(super) fn tries(&self) -> Tries {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until its first try is done: at most one timeout.
    pub(super) async fn tried(&self) {
        while self.tries().count == 0 && !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One try.
async fn once(probe: &Probe) -> Try {
    let (met, what) = match probe {
        Probe::Http { url, status, timeout } => {
            match tokio::time::timeout(*timeout, http::get(url)).await {
                Ok(Ok(answer)) => {
                    let code = answer.status().as_u16();
                    (code == *status, format!("status {code}"))
                }
                Ok(Err(error)) => (false, error),
                Err(_) => (false, format!("no answer within {timeout:?}")),
            }
        }
        Probe::Promql { query, at_least, at_most } => {
            return of_answer(promql::ask(query).await, *at_least, *at_most);
        }
        Probe::Command { argv, exit_code, timeout } => {
            match tokio::time::timeout(*timeout, run(argv)).await {
                Ok(Ok(Some(code))) => (code == *exit_code, format!("exit {code}")),
                Ok(Ok(None)) => (false, "killed by a signal".to_owned()),
                Ok(Err(error)) => (false, error),
                Err(_) => (false, format!("not done within {timeout:?}, and killed")),
            }
        }
        Probe::SuccessRate { .. } | Probe::Latency { .. } | Probe::Breaker { .. } => {
            return (None, String::new());
        }
    };
    (Some(met), what)
}

/// What a number is worth as an answer to a query.
fn of_answer(answer: promql::Answer, at_least: Option<f64>, at_most: Option<f64>) -> Try {
    match answer {
        promql::Answer::Number(value) => {
            // NaN is within no bounds.
            let met = at_least.is_none_or(|low| value >= low)
                && at_most.is_none_or(|high| value <= high)
                && !value.is_nan();
            (Some(met), judge::value(value))
        }
        promql::Answer::Nothing => (None, "no sample".to_owned()),
        promql::Answer::Failed(why) => (Some(false), why),
    }
}

/// Exit code; `None` if a signal ended it. Its output is not wanted.
async fn run(argv: &[String]) -> Result<Option<i32>, String> {
    let (program, arguments) = argv.split_first().ok_or("an empty command")?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status =
        command.status().await.map_err(|error| format!("cannot run {program}: {error}"))?;
    Ok(status.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str], exit_code: i32, timeout_ms: u64) -> Probe {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Probe::Command { argv, exit_code, timeout: Duration::from_millis(timeout_ms) }
    }

    #[tokio::test]
    async fn commands_tell_by_their_exit_code() {
        assert_eq!(once(&command(&["/bin/true"], 0, 5000)).await, (Some(true), "exit 0".into()));
        assert_eq!(once(&command(&["/bin/false"], 0, 5000)).await, (Some(false), "exit 1".into()));
        assert_eq!(once(&command(&["/bin/false"], 1, 5000)).await, (Some(true), "exit 1".into()));
        let (met, what) = once(&command(&["/nowhere/at/all"], 0, 5000)).await;
        assert!(met == Some(false) && what.starts_with("cannot run /nowhere/at/all: "), "{what}");
        let (met, what) = once(&command(&["/bin/sleep", "30"], 0, 50)).await;
        assert_eq!((met, what.as_str()), (Some(false), "not done within 50ms, and killed"));
    }

    #[tokio::test]
    async fn http_tells_by_its_status() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().route("/up", axum::routing::get(|| async { "yes" }));
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let probe = |path: &str, status| Probe::Http {
            url: format!("http://{address}{path}"),
            status,
            timeout: Duration::from_secs(5),
        };
        assert_eq!(once(&probe("/up", 200)).await, (Some(true), "status 200".into()));
        assert_eq!(once(&probe("/down", 200)).await, (Some(false), "status 404".into()));
        server.abort();
        // The abort closes the listener when the task is gone.
        assert!(server.await.is_err());
        // Refused; or another test has the port by now, and speaks no HTTP.
        let (met, what) = once(&probe("/up", 200)).await;
        assert!(met == Some(false) && !what.contains("status 200"), "{what}");
    }

    #[tokio::test]
    async fn it_is_tried_again_and_the_first_miss_is_kept() {
        let prober = Prober::start(&command(&["/bin/false"], 0, 5000), Instant::now()).unwrap();
        prober.tried().await;
        assert_eq!(prober.tries().last, Some((Some(false), "exit 1".into())));
        let first = prober.tries().first_miss;
        tokio::time::sleep(AGAIN_AFTER + Duration::from_millis(500)).await;
        let tries = prober.tries();
        assert!(tries.count >= 2, "{tries:?}");
        assert_eq!(tries.first_miss, first);
    }

    #[test]
    fn a_number_is_judged_by_its_bounds_and_nan_is_bad() {
        use promql::Answer::{Failed, Nothing, Number};
        let met = |answer, low, high| of_answer(answer, low, high).0;
        assert_eq!(met(Number(2.0), Some(2.0), Some(2.0)), Some(true));
        assert_eq!(met(Number(1.9), Some(2.0), None), Some(false));
        assert_eq!(met(Number(2.1), None, Some(2.0)), Some(false));
        assert_eq!(met(Number(f64::NAN), None, Some(2.0)), Some(false));
        assert_eq!(met(Number(f64::INFINITY), Some(2.0), None), Some(true));
        assert_eq!(met(Nothing, Some(2.0), None), None);
        assert_eq!(of_answer(Failed("why".into()), None, Some(1.0)), (Some(false), "why".into()));
    }
}
