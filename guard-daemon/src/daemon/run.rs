//! guardd's life: start in one order, stop in the reverse.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::error::DaemonError;
use super::handler::Control;
use super::schedules;
use super::start::{Started, open_state, start};
use super::state::Guard;
use super::threads::Threads;
use crate::config;
use crate::control::{self, AccessRule};
use crate::kernel;
use crate::net::resolver::{Resolver, Tracker, Update};
use crate::plan::{OnExit, Plan};
use crate::telemetry::{http, notify};

/// Runs guardd until SIGTERM or SIGINT.
pub async fn run(config_path: PathBuf) -> Result<(), DaemonError> {
    let loaded = config::load(&config_path).map_err(DaemonError::Config)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    check_host()?;
    raise_descriptor_limit();
    // Signals first: one that comes during the start stops cleanly after it.
    let mut stop = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut hangup = signals(SignalKind::hangup())?;

    let undo = open_state(&loaded.plan)?;
    let control_socket = loaded.plan.daemon.control_socket.clone();
    let listener = control::bind(&control_socket)?;
    let metrics = bind_metrics(&loaded.plan).await?;
    let address = metrics.as_ref().and_then(|m| m.local_addr().ok());
    let started = tokio::task::block_in_place(|| start(config_path, loaded, undo, address));
    let Started { guard, events, pools } = match started {
        Ok(started) => started,
        Err(error) => {
            unlink(&control_socket);
            return Err(error);
        }
    };
    let threads = Threads::start(&guard, events, pools)?;
    let (stopping, stopped) = watch::channel(false);
    let servers = serve(&guard, listener, metrics, &stopped);
    let resolving = tokio::spawn(resolve(Arc::clone(&guard), stopped.clone()));
    let (end_schedules, schedules_end) = watch::channel(false);
    let scheduling = tokio::spawn(schedules::run(Arc::clone(&guard), schedules_end));
    announce(&guard);
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                notify::reloading();
                let guard = Arc::clone(&guard);
                let reload = tokio::task::spawn_blocking(move || {
                    // The error is logged and shown by status.
                    drop(guard.reload(false));
                    announce(&guard);
                });
                if let Err(error) = reload.await {
                    tracing::error!(%error, "reload panicked");
                }
            }
        }
    }
    tracing::info!("stopping");
    notify::stopping("taking guard off the host");
    // A drill that runs by a schedule is ended while guardd can still answer it.
    end_schedules.send_replace(true);
    if let Err(error) = scheduling.await {
        tracing::error!(%error, "the schedules panicked");
    }
    stopping.send_replace(true);
    resolving.abort();
    for server in servers {
        if let Err(error) = server.await {
            tracing::error!(%error, "a server panicked");
        }
    }
    threads.stop();
    tokio::task::block_in_place(|| shut_down(&guard, &control_socket));
    Ok(())
}

fn signals(kind: SignalKind) -> Result<tokio::signal::unix::Signal, DaemonError> {
    signal(kind).map_err(|source| DaemonError::System { what: "listening to signals", source })
}

fn check_host() -> Result<(), DaemonError> {
    let problems: Vec<_> =
        kernel::check_features().into_iter().filter_map(|feature| feature.problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(DaemonError::Unable(problems)) }
}

/// Raises the soft limit of open files to the hard one: each bulkhead holds its cgroup, and, where
/// links cannot be pinned, eight of those; the usual soft limit of 1024 would end at about 110 bulkheads.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, ?limit, "the limit of open files stays; it bounds the bulkheads");
    }
}

async fn bind_metrics(plan: &Plan) -> Result<Option<TcpListener>, DaemonError> {
    let Some(address) = plan.daemon.metrics_listen else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(source) => {
            unlink(&plan.daemon.control_socket);
            Err(DaemonError::Metrics { address, source })
        }
    }
}

fn unlink(socket: &Path) {
    if let Err(error) = control::unlink(socket) {
        tracing::warn!(socket = %socket.display(), %error, "the control socket stays");
    }
}

fn serve(
    guard: &Arc<Guard>,
    listener: UnixListener,
    metrics: Option<TcpListener>,
    stopped: &watch::Receiver<bool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let until_stopped = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone: stopped all the same.
        drop(stopped.wait_for(|stop| *stop).await);
    };
    let handler = Arc::new(Control(Arc::clone(guard)));
    let mut servers = vec![tokio::spawn(control::serve(
        listener,
        handler,
        AccessRule::detect().with_owners(Arc::clone(&guard.owners)),
        until_stopped(stopped.clone()),
    ))];
    if let Some(metrics) = metrics {
        let source = Arc::clone(guard);
        let stopped = stopped.clone();
        servers.push(tokio::spawn(async move {
            if let Err(error) = http::serve(metrics, source, until_stopped(stopped)).await {
                tracing::error!(%error, "/metrics is not served any more");
            }
        }));
    }
    servers
}

fn announce(guard: &Guard) {
    let state = guard.lock();
    let text = format!(
        "{} bulkheads, {} services, {} faults",
        state.bulkheads.len(),
        state.plan.services.len(),
        state.faults.ids(None).len()
    );
    tracing::info!(
        mode = super::status::mode_name(state.plan.daemon.mode),
        cgroup_root = %state.root.path().display(),
        delay_engine = guard.delay_engine(),
        "ready: {text}"
    );
    drop(state);
    kernel::give_back_free_memory();
    notify::ready(&text);
}

/// Keeps host names resolved until the stop.
async fn resolve(guard: Arc<Guard>, mut stopped: watch::Receiver<bool>) {
    let mut wanted = guard.names.subscribe();
    let first = wanted.borrow_and_update().clone();
    let (mut tracker, mut updates) = Tracker::start(Arc::new(Resolver::system()), first);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let names = wanted.borrow_and_update().clone();
                tracker.set_names(names);
            }
            () = guard.resolve_again.notified() => {
                let names = wanted.borrow_and_update().clone();
                tracker.set_names([]);
                tracker.set_names(names);
            }
            update = updates.recv() => {
                let Some(update) = update else { return };
                let guard = Arc::clone(&guard);
                let applied = tokio::task::spawn_blocking(move || guard.take_update(update)).await;
                if let Err(error) = applied {
                    tracing::error!(%error, "an answer of the resolver was not applied");
                }
            }
        }
    }
}

impl Guard {
    fn take_update(&self, update: Update) {
        let mut state = self.lock();
        match update {
            Update::Addresses { name, addresses } => {
                state.resolved.update(&name, &addresses);
                if let Err(error) = state.write_endpoints(&self.ids) {
                    tracing::error!(name, %error, "new addresses did not reach the kernel");
                }
                tracing::info!(name, ?addresses, "resolved");
                self.events.note("resolved", |event| {
                    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                    event.message = format!("{name}: {}", list.join(", "));
                });
            }
            Update::Failing { name, error, kept, next_try } => {
                tracing::warn!(name, error, kept, ?next_try, "host name does not resolve");
                self.events
                    .note("resolve_failed", |event| event.message = format!("{name}: {error}"));
                state.resolved.failed(&name, error);
            }
            Update::Recovered { name } => {
                tracing::info!(name, "host name resolves again");
                state.resolved.recovered(&name);
            }
        }
    }
}

fn shut_down(guard: &Guard, control_socket: &Path) {
    end_faults(guard);
    let mut state = guard.lock();
    guard.end_pressure(&mut state);
    state.end_serving();
    let keep = state.plan.daemon.on_exit == OnExit::Keep;
    let problem = state.keeping.problem().map(str::to_owned);
    drop(state);
    guard.end_hooks();
    match problem {
        None if keep => tracing::info!("breakers go on by themselves; guardctl cleanup ends them"),
        _ => take_down(guard),
    }
    unlink(control_socket);
    tracing::info!("stopped");
}

/// Ends all faults and takes what they needed off the host.
fn end_faults(guard: &Guard) {
    let mut state = guard.lock();
    state.save_budgets();
    state.incidents.save_totals();
    for id in state.faults.ids(None) {
        guard.end_fault(&mut state, id, "stopped");
    }
    state.end_pacing();
    let state = &mut *state;
    if let Err(error) = state.faults.unmount(&mut state.undo) {
        tracing::error!(%error, "the file system of the gates stays; run guardctl cleanup");
    }
}

/// Takes everything else off the host, in the reverse order of the start.
pub(super) fn take_down(guard: &Guard) {
    let mut state = guard.lock();
    let state = &mut *state;
    for left in state.remove_all_bulkheads() {
        tracing::warn!("{left}; its processes go on, unguarded");
    }
    state.keeping.remove(&mut state.undo);
    if let Some(ticket) = state.root_ticket.take() {
        match crate::cgroup::systemd::stop_if_empty(state.hierarchy.mount_point()) {
            Ok(crate::cgroup::systemd::Stopped::Busy(pids)) => {
                tracing::warn!(?pids, "the unit of the bulkheads goes on: processes are in it");
            }
            Ok(_) => {
                if let Err(error) = state.undo.done(ticket) {
                    tracing::warn!(%error, "undo log not updated");
                }
            }
            Err(error) => tracing::warn!(%error, "the unit of the bulkheads goes on"),
        }
    }
}
