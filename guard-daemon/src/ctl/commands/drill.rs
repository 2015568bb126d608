//! `guardctl drill`: run (here, with the operator's rights), list, abort.

use std::path::Path;

use jiff::Timestamp;

use super::super::cli::{DrillCommand, DrillRunArgs};
use super::super::client::{Client, Lines};
use super::super::interrupt::Interrupt;
use super::super::output::Output;
use super::super::view;
use super::super::view::DrillProgress;
use super::detach;
use crate::control::api::{
    Breakers, DrillLine, DrillPlan, DrillRequest, Drills, ErrorBody, FaultRecord, FaultRequest,
    Faults, Footprint, Status,
};
use crate::drill::record::Moment;
use crate::drill::run::{Daemon, Job, Progress, Watcher};
use crate::drill::{self, Record, results};

pub(super) async fn run(
    client: &Client,
    command: DrillCommand,
    output: &Output,
) -> Result<u8, ErrorBody> {
    match command {
        DrillCommand::Run(arguments) => run_file(client, &arguments, output).await,
        DrillCommand::List => {
            let answer: Drills = client.get("/v1/drills").await?;
            output.answer(&answer, |look| view::drills(&answer, look))?;
            Ok(0)
        }
        DrillCommand::Abort => {
            let answer: Drills = client.delete("/v1/drills").await?;
            output.answer(&answer, |look| view::drills_aborted(&answer, look))?;
            Ok(0)
        }
    }
}

async fn run_file(
    client: &Client,
    arguments: &DrillRunArgs,
    output: &Output,
) -> Result<u8, ErrorBody> {
    let loaded = drill::file::load(&arguments.file).map_err(|errors| {
        output.complain(&format!("{}\n", errors.render(output.err_look().color).trim_end()));
        ErrorBody {
            error: format!("{} is not a valid drill: {errors}", arguments.file.display()),
            help: format!("guardctl check {}", arguments.file.display()),
            exit_code: 2,
        }
    })?;
    output.complain(&loaded.render_warnings(output.err_look().color));
    let drill = &loaded.drill;
    let request = DrillRequest {
        id: new_run_id(),
        name: drill.name.clone(),
        purpose: drill.purpose.clone(),
        faults: drill.faults.clone(),
    };
    if arguments.dry_run {
        let plan: DrillPlan = client.post("/v1/drills?dry_run=true", &request).await?;
        output.answer(&plan, |look| view::drill_plan(drill, &plan, look))?;
        return Ok(0);
    }
    if let Some(directory) = &arguments.out {
        results::check_directory(directory).map_err(|error| failed(&error, ""))?;
    }
    if arguments.detach {
        return detach::start(client, arguments, output);
    }
    // Before anything is changed, so that Ctrl-C cannot fall in between.
    let mut interrupt = if arguments.own_session {
        detach::leave_session()?;
        Interrupt::without_terminal()?
    } else {
        Interrupt::new()?
    };
    let mut lines = client.stream_of("/v1/drills", &request).await?;
    let Some(DrillLine { plan: Some(plan), .. }) = lines.next::<DrillLine>().await? else {
        return Err(failed("guardd did not say what the drill is about", "guardctl version"));
    };
    if arguments.own_session {
        detach::accepted(client, &drill.name, &request.id, arguments.out.as_deref())?;
    }
    let seed = arguments.seed.or(drill.seed).unwrap_or_else(|| u64::from(rand::random::<u32>()));
    output.remark(|look| view::drill_begins(drill, &plan, &request.id, seed, look))?;
    let mut watcher =
        Terminal { progress: DrillProgress::new(output.err_look(), &request.id), output };
    let file = arguments.file.display().to_string();
    let job = Job { drill, file: &file, text: &loaded.text, run_id: &request.id, seed, plan };
    let interrupted = async {
        interrupt.wait().await;
        "stopped by a signal (Ctrl-C)".to_owned()
    };
    let session = ended(lines);
    let record = drill::run::run(job, client, session, interrupted, &mut watcher).await;
    output.complain(&watcher.progress.clear());
    report(&record, arguments.out.as_deref(), output)?;
    Ok(record.exit_code)
}

/// Writes the results, and prints what the drill has shown.
fn report(record: &Record, out: Option<&Path>, output: &Output) -> Result<(), ErrorBody> {
    let written = out.map(|directory| results::write(record, directory)).transpose();
    output.answer(record, |look| results::summary(record, look.width))?;
    for path in
        written.map_err(|error| failed(&error, "the drill itself has ended"))?.iter().flatten()
    {
        output.complain(&format!("wrote  {}\n", path.display()));
    }
    Ok(())
}

fn failed(error: &(impl ToString + ?Sized), help: &str) -> ErrorBody {
    ErrorBody { error: error.to_string(), help: help.to_owned(), exit_code: 1 }
}

/// Sorts by time: `20261126T182512-4f2a`.
fn new_run_id() -> String {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S");
    format!("{now}-{:04x}", rand::random::<u16>())
}

/// Why guardd ended the drill. Dropping it hangs up, which ends the drill.
async fn ended(mut lines: Lines) -> String {
    loop {
        match lines.next::<DrillLine>().await {
            Ok(Some(DrillLine { ended: Some(why), .. })) => return why,
            Ok(Some(_)) => {}
            Ok(None) => return "guardd stopped".to_owned(),
            Err(error) => return format!("guardd is gone: {error}"),
        }
    }
}

impl Daemon for Client {
    async fn status(&self) -> Result<Status, ErrorBody> {
        Ok(self.get("/v1/status").await?)
    }

    async fn breakers(&self) -> Result<Breakers, ErrorBody> {
        Ok(self.get("/v1/breakers").await?)
    }

    async fn faults(&self) -> Result<Faults, ErrorBody> {
        Ok(self.get("/v1/faults").await?)
    }

    async fn inject(&self, fault: &FaultRequest) -> Result<FaultRecord, ErrorBody> {
        Ok(self.patient().post("/v1/faults", fault).await?)
    }

    async fn footprint(&self) -> Result<Footprint, ErrorBody> {
        Ok(self.patient().get("/v1/footprint").await?)
    }
}

/// Shows a drill on the terminal.
struct Terminal<'a> {
    progress: DrillProgress,
    output: &'a Output,
}

impl Watcher for Terminal<'_> {
    fn moment(&mut self, moment: &Moment) {
        self.output.complain(&self.progress.moment(moment));
    }

    fn progress(&mut self, progress: &Progress<'_>) {
        self.output.complain(&self.progress.line(progress));
    }
}
