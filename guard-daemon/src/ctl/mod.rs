//! `guardctl`, the operator's command: arguments in, one answer out, an exit code.
//!
//! `cli` reads arguments, `client` asks guardd, `view` makes text, `output` prints. Nothing in
//! here touches the kernel or a cgroup: what is to be done is asked of guardd, except for the
//! few commands that work without it (`check`, `explain`, `doctor`, `cleanup`).

#![allow(
    clippy::format_push_string,
    reason = "write! into a String needs an error handled that cannot happen; this prints a page per run"
)]

mod cleanup;
pub mod cli;
mod client;
mod commands;
mod doctor;
mod exec;
mod hook;
mod interrupt;
mod offline;
mod output;
mod quantity;
mod supervise;
mod top;
mod user;
pub(crate) mod view;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::control::api::ErrorBody;
use cli::{Cli, Command};
use output::Output;
pub(crate) use output::escape_non_ascii;

/// The whole of `guardctl`.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(&cli.global);
    let result = match cli.command {
        // Runs the command in place of this process, so it comes back only with an error.
        Command::Exec(command) if command.supervise => {
            supervise::by_hand(&cli.global.socket, &command)
        }
        Command::Exec(command) => Err(exec::run(&cli.global.socket, &command)),
        Command::Hook(arguments) => Err(hook::run(&arguments)),
        Command::Supervise { spec } => supervise::of_guardd(&spec),
        command => commands::run(&cli.global.socket, command, &output),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(body) => {
            output.failure(&body);
            ExitCode::from(body.exit_code)
        }
    }
}

/// Help, version, or what is wrong with the arguments (exit 2).
fn usage(error: &clap::Error) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let arguments = std::env::args().skip(1).take_while(|argument| argument != "--");
    if !is_answer && { arguments }.any(|argument| argument == "--json") {
        let text = error.to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        let (error, help) = text.split_once("\n\n").unwrap_or((text, ""));
        let body = ErrorBody { error: error.into(), help: help.trim().into(), exit_code: 2 };
        Output::json().failure(&body);
    } else if error.print().is_err() {
        // The terminal is gone; the exit code still tells.
        return ExitCode::from(2);
    }
    ExitCode::from(if is_answer { 0 } else { 2 })
}
