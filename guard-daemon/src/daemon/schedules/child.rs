//! A guardctl that guardd started to run one drill. It ends when this is dropped, and it never gets
//! anything of guardd but the path of the control socket.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::table::Verdict;
use crate::plan::SchedulePlan;

/// Longest record that is read; more is an error, not memory.
const RECORD_MOST_BYTES: u64 = 256 << 20;
/// What is kept of what it complains.
const WORDS_MOST_BYTES: usize = 4096;
/// In which time it ends after SIGTERM: it looks at what is left and reports, which takes a moment.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The process.
pub(super) struct Child {
    pid: Pid,
    task: JoinHandle<Outcome>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// `None`: a signal ended it, or it did not start.
    pub(crate) exit_code: Option<i32>,
    pub(crate) why: String,
    /// Empty without a verdict.
    pub(crate) run_id: String,
}

impl Outcome {
    /// Without a verdict.
    pub(super) fn failed(why: String) -> Self {
        Self { verdict: Verdict::Failed, exit_code: None, why, run_id: String::new() }
    }
}

/// What guardd reads of what guardctl prints.
#[derive(Deserialize)]
#[serde(untagged)]
enum Printed {
    Record { verdict: String, why: String, run_id: String },
    Error { error: String },
}

impl Child {
    /// Starts guardctl, which is beside guardd.
    pub(super) fn start(socket: &Path, plan: &SchedulePlan) -> Result<Self, String> {
        let guardd = std::env::current_exe()
            .map_err(|error| format!("guardd's own path cannot be read: {error}"))?;
        let guardctl = guardd.with_file_name("guardctl");
        let mut command = Command::new(&guardctl);
        command.arg("--socket").arg(socket).args(["--json", "drill", "run"]).arg(&plan.drill);
        command.arg("--out").arg(&plan.out).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let cannot = |what: &str| {
            format!(
                "cannot start {}: {what}; it must be installed beside guardd",
                guardctl.display()
            )
        };
        let mut child = command.spawn().map_err(|error| cannot(&error.to_string()))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = Pid::from_raw(pid.ok_or_else(|| cannot("it has ended already"))?);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(cannot("its output cannot be read"));
        };
        let task = tokio::spawn(async move {
            let (printed, words) = tokio::join!(printed(stdout), last_words(stderr));
            match child.wait().await {
                Ok(status) => outcome(status.code(), printed.as_deref(), &words),
                Err(error) => Outcome::failed(format!("guardctl cannot be waited for: {error}")),
            }
        });
        Ok(Self { pid, task })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Until it has ended.
    pub(super) async fn ended(&mut self) -> Outcome {
        let ended = (&mut self.task).await;
        ended.unwrap_or_else(|error| Outcome::failed(format!("guardd failed: {error}")))
    }

    /// Ends it: asks first, so that it takes back its faults and reports, and kills it then.
    pub(super) async fn stop(mut self) -> Outcome {
        if !self.task.is_finished()
            && let Err(error) = kill(self.pid, Signal::SIGTERM)
        {
            tracing::warn!(pid = self.pid(), %error, "the drill's guardctl cannot be asked to end");
        }
        if let Ok(outcome) = tokio::time::timeout(ENDS_WITHIN, self.ended()).await {
            return outcome;
        }
        // Dropping the process kills it; guardd ends its faults with its connection.
        self.task.abort();
        Outcome::failed(format!("it did not end within {ENDS_WITHIN:?}, and was killed"))
    }
}

/// All that it prints, unless that is too much.
async fn printed(stdout: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut limited = stdout.take(RECORD_MOST_BYTES + 1);
    match limited.read_to_end(&mut bytes).await {
        Ok(read) if read as u64 > RECORD_MOST_BYTES => {
            Err(format!("the record is longer than {RECORD_MOST_BYTES} bytes"))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("the record cannot be read: {error}")),
    }
}

/// The end of what it complains.
async fn last_words(mut stderr: impl AsyncRead + Unpin) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        match stderr.read(&mut piece).await {
            Ok(0) => break,
            Ok(read) => kept.extend_from_slice(&piece[..read]),
            Err(error) => {
                tracing::debug!(%error, "what a scheduled drill complained is not known");
                break;
            }
        }
        kept.drain(..kept.len().saturating_sub(WORDS_MOST_BYTES));
    }
    String::from_utf8_lossy(&kept).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// guardctl prints a record, an error, or both: a record that could not be written into files.
fn outcome(exit_code: Option<i32>, printed: Result<&[u8], &String>, words: &str) -> Outcome {
    let mut told = Outcome { exit_code, ..Outcome::failed(String::new()) };
    let mut say = |why: &str| {
        told.why =
            if told.why.is_empty() { why.to_owned() } else { format!("{}; {why}", told.why) };
    };
    match printed {
        Err(problem) => say(problem),
        Ok(printed) => {
            for document in serde_json::Deserializer::from_slice(printed).into_iter::<Printed>() {
                match document {
                    Ok(Printed::Record { verdict, why, run_id }) => {
                        say(&why);
                        told.run_id = run_id;
                        told.verdict = Verdict::from_name(&verdict).unwrap_or(Verdict::Failed);
                    }
                    Ok(Printed::Error { error }) => say(&error),
                    Err(error) => {
                        say(&format!("what guardctl printed is no record: {error}"));
                        break;
                    }
                }
            }
        }
    }
    if told.why.is_empty() {
        let words = if words.is_empty() { "guardctl gave no verdict" } else { words };
        words.clone_into(&mut told.why);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_the_verdict_and_anything_else_is_a_failure() {
        let record =
            br#"{"schema":"guard.drill/1","verdict":"held","why":"all held","run_id":"7"}"#;
        let held = outcome(Some(0), Ok(record), "noise");
        assert_eq!((held.verdict, held.exit_code), (Verdict::Held, Some(0)));
        assert_eq!((held.why.as_str(), held.run_id.as_str()), ("all held", "7"));
        let refused = outcome(Some(2), Ok(br#"{"error":"no bulkhead is named x"}"#), "noise");
        assert_eq!((refused.verdict, refused.exit_code), (Verdict::Failed, Some(2)));
        assert_eq!(refused.why, "no bulkhead is named x");
        let both = br#"{"verdict":"held","why":"all held","run_id":"7"} {"error":"disk full"}"#;
        let both = outcome(Some(1), Ok(both), "");
        assert_eq!((both.verdict, both.why.as_str()), (Verdict::Held, "all held; disk full"));
        assert!(outcome(None, Ok(b"{"), "").why.starts_with("what guardctl printed is no record"));
        assert_eq!(outcome(None, Ok(b""), "").why, "guardctl gave no verdict");
        assert_eq!(outcome(None, Ok(b""), "killed").why, "killed");
        let long = "too long".to_owned();
        assert_eq!(outcome(Some(0), Err(&long), "").why, "too long");
    }

    #[tokio::test]
    async fn only_the_end_of_complaints_is_kept() {
        let long = format!("{} the end", "x ".repeat(10_000));
        let words = last_words(long.as_bytes()).await;
        assert!(words.ends_with("x the end") && words.len() <= WORDS_MOST_BYTES);
    }
}
