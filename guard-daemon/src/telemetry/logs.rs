//! Logs of guardd, to standard error: text for people and journald, JSON for machines. The level
//! can be changed while it runs. Logs are for reading; nothing in guard depends on them.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

/// What is logged unless `GUARD_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";
/// What else decides how lines look and which there are.
const VARIABLES: [&str; 4] = ["GUARD_LOG", "JOURNAL_STREAM", "NO_COLOR", "TERM"];
/// Value of `GUARD_LOG_FORMAT` that gives what [`init`] chose.
static FORMAT: OnceLock<&str> = OnceLock::new();

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// What `GUARD_LOG_FORMAT` says, else text.
    #[default]
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logs could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `GUARD_LOG_FORMAT` is no format.
    #[error("GUARD_LOG_FORMAT is {0:?}; cure: set it to \"text\" or \"json\", or unset it")]
    Format(String),
    /// A filter is not understood.
    #[error(
        "log filter {filter:?}: {reason}; cure: give a level (error, warn, info, debug, trace, \
         off), or MODULE=LEVEL pairs such as \"info,guard_daemon::fault=debug\" (GUARD_LOG)"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else in this process has set up logs before.
    #[error("logs are set up already: {0}; cure: call telemetry::logs::init once, at the start")]
    Twice(String),
    /// The subscriber is gone.
    #[error("the log level cannot be changed any more: {0}; cure: restart guardd")]
    Gone(String),
}

/// Changes the filter while guardd runs.
#[derive(Debug)]
pub struct LogHandle {
    reload: reload::Handle<EnvFilter, Registry>,
    filter: Mutex<String>,
}

impl LogHandle {
    /// The filter in force.
    pub fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another filter in force, at once and for all threads.
    ///
    /// # Errors
    /// [`LogError::Filter`]: then the old one stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse_filter(filter)?;
        let mut current = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload.reload(parsed).map_err(|e| LogError::Gone(e.to_string()))?;
        filter.clone_into(&mut current);
        Ok(())
    }
}

/// Sets up logs for the whole process. Level by `GUARD_LOG` (default `info`).
///
/// # Errors
/// [`LogError::Format`], [`LogError::Filter`], or [`LogError::Twice`].
pub fn init(format: LogFormat) -> Result<LogHandle, LogError> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let plain = env("NO_COLOR").is_some() || env("TERM").is_none_or(|term| term == "dumb");
    let look = Look::choose(
        format,
        env("GUARD_LOG_FORMAT").as_deref(),
        env("JOURNAL_STREAM").is_some_and(|stream| is_stderr(&stream)),
        std::io::stderr().is_terminal() && !plain,
    )?;
    let filter = env("GUARD_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    let (subscriber, handle) = build(look, &filter, std::io::stderr)?;
    subscriber.try_init().map_err(|e| LogError::Twice(e.to_string()))?;
    FORMAT.get_or_init(|| if look.json { "json" } else { "text" });
    Ok(handle)
}

/// Environment variables with which a process that has the same standard error, and calls
/// [`init`] with [`LogFormat::Auto`], writes the same kind of lines as this one.
pub fn environment() -> Vec<(&'static str, OsString)> {
    let kept = VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let format = FORMAT.get().map(|format| ("GUARD_LOG_FORMAT", OsString::from(format)));
    kept.chain(format).collect()
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    json: bool,
    /// Text goes to journald, which has a time stamp and wants a priority.
    journal: bool,
    colour: bool,
}

impl Look {
    fn choose(
        format: LogFormat,
        env: Option<&str>,
        journal: bool,
        terminal: bool,
    ) -> Result<Self, LogError> {
        let json = match (format, env) {
            (LogFormat::Text, _) | (LogFormat::Auto, None | Some("text" | "auto")) => false,
            (LogFormat::Json, _) | (LogFormat::Auto, Some("json")) => true,
            (LogFormat::Auto, Some(other)) => return Err(LogError::Format(other.to_owned())),
        };
        Ok(Self { json, journal: journal && !json, colour: terminal && !json && !journal })
    }
}

/// `JOURNAL_STREAM` is `DEVICE:INODE` of the pipe to journald; a child whose standard error was
/// redirected inherits the variable all the same.
fn is_stderr(journal_stream: &str) -> bool {
    fstat(std::io::stderr())
        .is_ok_and(|stat| journal_stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn build<W>(
    look: Look,
    filter: &str,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + 'static, LogHandle), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter_layer, reload) = reload::Layer::new(parse_filter(filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(look.colour);
    let lines = if look.json {
        lines.json().flatten_event(true).boxed()
    } else if look.journal {
        lines.event_format(Journal(Format::default().without_time().with_ansi(false))).boxed()
    } else {
        lines.boxed()
    };
    let handle = LogHandle { reload, filter: Mutex::new(filter.to_owned()) };
    Ok((tracing_subscriber::registry().with(filter_layer).with(lines), handle))
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let fail = |reason: String| LogError::Filter { filter: filter.to_owned(), reason };
    // A bare word that is no level would be taken for a module and silence all the others.
    for part in filter.split(',').map(str::trim) {
        let bare = !part.contains(['=', '[']);
        if bare && !part.eq_ignore_ascii_case("off") && part.parse::<Level>().is_err() {
            return Err(fail(format!("{part:?} is no level")));
        }
    }
    EnvFilter::builder().parse(filter).map_err(|e| fail(e.to_string()))
}

/// Text lines with the priority that journald reads from their start (`<4>`).
struct Journal(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `work` runs.
    fn logged(look: Look, filter: &str, work: impl FnOnce(&LogHandle)) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let (subscriber, handle) = build(look, filter, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || work(&handle));
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    const TEXT: Look = Look { json: false, journal: false, colour: false };

    #[test]
    fn the_format_is_chosen() {
        let choose = Look::choose;
        assert_eq!(choose(LogFormat::Auto, None, false, false).unwrap(), TEXT);
        assert!(choose(LogFormat::Auto, None, false, true).unwrap().colour);
        assert!(choose(LogFormat::Auto, Some("json"), true, true).unwrap().json);
        // The flag beats the environment; neither journal nor colour goes into JSON.
        assert!(!choose(LogFormat::Text, Some("json"), false, false).unwrap().json);
        let json = Look { json: true, journal: false, colour: false };
        assert_eq!(choose(LogFormat::Json, Some("text"), true, true).unwrap(), json);
        let error = choose(LogFormat::Auto, Some("xml"), false, false).unwrap_err().to_string();
        assert!(error.contains("xml") && error.contains("cure: "), "{error}");
    }

    #[test]
    fn text_has_time_and_the_journal_has_priority() {
        let line = logged(TEXT, "info", |_| tracing::warn!(cgroup = "a b", "lost"));
        assert!(line.starts_with("20") && line.contains(" WARN "), "{line}");
        assert!(line.contains("lost cgroup=\"a b\"") && !line.contains('\u{1b}'), "{line}");
        let journal = Look { journal: true, ..TEXT };
        let lines = logged(journal, "trace", |_| {
            tracing::error!("one");
            tracing::warn!("two");
            tracing::info!("three");
            tracing::debug!("four");
        });
        let starts: Vec<_> = lines.lines().map(|line| &line[..3]).collect();
        assert_eq!(starts, ["<3>", "<4>", "<6>", "<7>"], "{lines}");
        assert!(lines.lines().all(|line| !line.contains(":00Z") && !line.contains("202")));
        let colour = logged(Look { colour: true, ..TEXT }, "info", |_| tracing::warn!("x"));
        assert!(colour.contains('\u{1b}'));
    }

    #[test]
    fn json_is_one_object_per_line() {
        let look = Look { json: true, ..TEXT };
        let lines = logged(look, "info", |_| {
            tracing::info!(bulkhead = "research", fault = 7_u64, "a \"quoted\"\nmessage");
        });
        assert_eq!(lines.lines().count(), 1, "{lines}");
        let object: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(object["level"], "INFO");
        assert_eq!(object["message"], "a \"quoted\"\nmessage");
        assert_eq!((&object["bulkhead"], &object["fault"]), (&"research".into(), &7.into()));
        assert!(object["timestamp"].is_string());
    }

    #[test]
    fn the_level_changes_while_it_runs() {
        let lines = logged(TEXT, "info", |handle| {
            tracing::debug!("before");
            handle.set_filter("warn,guard_daemon::telemetry=debug").unwrap();
            tracing::debug!("between");
            handle.set_filter("debgu").unwrap_err();
            assert_eq!(handle.filter(), "warn,guard_daemon::telemetry=debug");
            tracing::debug!("still");
            handle.set_filter("off").unwrap();
            tracing::error!("after");
        });
        let seen = ["before", "between", "still", "after"].map(|word| lines.contains(word));
        assert_eq!(seen, [false, true, true, false], "{lines}");
    }

    #[test]
    fn wrong_filters_name_the_word() {
        for filter in ["debgu", "info,nonsense", "guard_daemon=loud", ""] {
            let error = parse_filter(filter).unwrap_err().to_string();
            assert!(error.contains("cure: give a level"), "{error}");
        }
        for filter in ["info", "WARN", "off", "info,guard_daemon::fault=trace"] {
            parse_filter(filter).unwrap();
        }
    }
}
