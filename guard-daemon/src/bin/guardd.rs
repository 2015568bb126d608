//! guardd: the daemon. Runs in the foreground; SIGTERM stops, SIGHUP reloads. With a first
//! argument that no person gives it is its own delay engine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use guard_daemon::daemon::{self, DaemonError};
use guard_daemon::net::delay::process;
use guard_daemon::telemetry::logs::{self, LogFormat};

/// Guards the AI agents of this host: bulkheads, faults, metrics.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  guardd --config /etc/guard/guard.toml\n  guardctl check \
                  /etc/guard/guard.toml && guardd --config /etc/guard/guard.toml --log-format json"
)]
struct Arguments {
    /// Configuration file.
    #[arg(long, env = "GUARD_CONFIG", default_value = "/etc/guard/guard.toml")]
    config: PathBuf,
    /// How the log looks.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == process::ARGUMENT) {
        return delay_engine();
    }
    let arguments = Arguments::parse();
    let log = match logs::init(arguments.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("guardd")
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(daemon::run(arguments.config)),
        Err(source) => Err(DaemonError::System { what: "starting the runtime", source }),
    };
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match &error {
                DaemonError::Config(errors) => eprint!("{}", errors.render(false)),
                other => eprintln!("error: {other}"),
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// The engine process (see [`process`]).
fn delay_engine() -> ExitCode {
    // Without log lines it works all the same.
    let log = logs::init(LogFormat::Auto);
    match process::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match log {
                Ok(_) => tracing::error!("{error}"),
                Err(_) => eprintln!("error: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}
