//! What guardd serves itself: files in a service's place, and gateways. Started, ended and changed as
//! the plan says; the kernel is told of an address only while somebody listens there.
//!
//! They run on threads of their own: however many calls agents make, guardd answers its operators and
//! renews its leases. A change never breaks a call that is under way: whoever served it goes on until
//! it is done, and takes no new ones.

mod files;
mod gateways;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use self::gateways::GatewayBook;
use super::state::Guard;
use crate::gateway::{Lookup, Stop};

/// Pause between two looks at the plan.
const PAUSE: Duration = Duration::from_millis(200);
/// Threads that serve.
const WORKERS: usize = 2;
/// Longest wait at the end for what the servers do not end themselves.
const END: Duration = Duration::from_secs(5);

/// All servers.
struct Serving {
    guard: Arc<Guard>,
    lookup: Lookup,
    /// Made when it is needed first.
    runtime: Option<Runtime>,
    files: files::Served,
    gateways: gateways::Served,
    /// Servers that were replaced, with connections of their own.
    retired: Vec<Running>,
}

/// One server that runs.
struct Running {
    stop: watch::Sender<Stop>,
    tasks: Vec<JoinHandle<()>>,
}

impl Guard {
    /// Serves what the plan says until the order to stop.
    pub(super) fn serve_until(self: &Arc<Self>, stop: &AtomicBool) {
        let asking = self.lock().kernel.asking();
        let mut serving = Serving {
            guard: Arc::clone(self),
            lookup: Arc::new(move |client| asking.asked(client)),
            runtime: None,
            files: files::Served::default(),
            gateways: gateways::Served::default(),
            retired: Vec::new(),
        };
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = serving.follow() {
                tracing::error!(%error, "guardd serves nothing: no threads");
            }
            std::thread::park_timeout(PAUSE);
        }
        serving.end();
    }
}

impl Serving {
    /// Makes what is served equal to what the plan says.
    fn follow(&mut self) -> std::io::Result<()> {
        let (files, gateways) = {
            let state = self.guard.lock();
            (files::wanted(&state.plan), gateways::wanted(&state.plan))
        };
        if self.runtime.is_none() && (!files.is_empty() || !gateways.is_empty()) {
            self.runtime = Some(
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(WORKERS)
                    .thread_name("guard-serve")
                    .enable_all()
                    .build()?,
            );
        }
        self.serve_files(&files);
        self.serve_gateways(&gateways);
        self.retired.retain(Running::goes_on);
        Ok(())
    }

    /// Nobody is sent here any more, and what is under way has a moment to come to its end.
    fn end(mut self) {
        self.serve_files(&BTreeMap::new());
        self.serve_gateways(&BTreeMap::new());
        let Some(runtime) = self.runtime.take() else { return };
        for running in &self.retired {
            running.stop.send_replace(Stop::End);
        }
        for task in self.retired.into_iter().flat_map(|running| running.tasks) {
            if let Err(error) = runtime.block_on(task) {
                tracing::error!(%error, "a server panicked");
            }
        }
        runtime.shutdown_timeout(END);
    }

    /// Listens on these addresses of loopback, and has each served.
    fn start<F: Future<Output = ()> + Send + 'static>(
        &self,
        on: &[SocketAddr],
        serve: impl Fn(TcpListener, watch::Receiver<Stop>) -> F,
    ) -> std::io::Result<(Running, Vec<SocketAddr>)> {
        let runtime = self.runtime.as_ref().ok_or_else(|| std::io::Error::other("no threads"))?;
        let (stop, stopped) = watch::channel(Stop::No);
        let (mut tasks, mut addresses, mut why) = (Vec::new(), Vec::new(), None);
        for address in on {
            match runtime.block_on(TcpListener::bind(address)) {
                Ok(listener) => {
                    addresses.push(listener.local_addr()?);
                    tasks.push(runtime.spawn(serve(listener, stopped.clone())));
                }
                // A host may have one of the two families alone.
                Err(error) => why = Some(error),
            }
        }
        match why {
            Some(error) if tasks.is_empty() => Err(error),
            _ => Ok((Running { stop, tasks }, addresses)),
        }
    }

    /// What is under way comes to its end by itself.
    fn retire(&mut self, running: Running) {
        running.stop.send_replace(Stop::Retire);
        self.retired.push(running);
    }
}

impl Running {
    /// Whether it serves anybody: it ends by itself only when it is told to, or when it panics.
    fn goes_on(&self) -> bool {
        self.tasks.iter().any(|task| !task.is_finished())
    }
}

/// Why something is not served, by service, as it was told last: each trouble is told once.
#[derive(Default)]
struct Troubles(BTreeMap<String, String>);

impl Troubles {
    /// Whether this is news.
    fn add(&mut self, service: &str, why: String) -> bool {
        self.0.get(service) != Some(&why) && {
            self.0.insert(service.to_owned(), why);
            true
        }
    }

    /// Whether there was one.
    fn end(&mut self, service: &str) -> bool {
        self.0.remove(service).is_some()
    }
}
