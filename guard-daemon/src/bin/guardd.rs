//! guardd: the daemon. Runs in the foreground; SIGTERM stops, SIGHUP reloads.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use guard_daemon::daemon::{self, DaemonError};
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
