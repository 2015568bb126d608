//! What guardd serves itself: files in a service's place, and gateways. Started, ended and changed as
//! the plan says; the kernel is told of an address only while somebody listens there.
//!
//! They run on threads of their own: however many calls agents make, guardd answers its operators and
//! renews its leases.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::state::Guard;
use crate::gateway::{Lookup, files};
use crate::plan::{Fallback, Plan};

/// Pause between two looks at the plan.
const PAUSE: Duration = Duration::from_millis(200);
/// Threads that serve.
const WORKERS: usize = 2;
/// Longest wait at the end for what the servers do not end themselves.
const END: Duration = Duration::from_secs(5);

/// One server that runs.
struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Files that are served, by service.
#[derive(Default)]
struct Served {
    files: BTreeMap<String, (PathBuf, Running)>,
    /// Why a directory is not served, as told last.
    troubles: BTreeMap<String, String>,
}

impl Guard {
    /// Serves what the plan says until the order to stop.
    pub(super) fn serve_until(self: &Arc<Self>, stop: &AtomicBool) {
        let mut runtime = None;
        let mut served = Served::default();
        while !stop.load(Ordering::Relaxed) {
            let wanted = files_of(&self.lock().plan);
            if !wanted.is_empty() || !served.files.is_empty() {
                match running(&mut runtime) {
                    Ok(runtime) => self.serve_files(runtime, &mut served, &wanted),
                    Err(error) => tracing::error!(%error, "guardd serves nothing: no threads"),
                }
            }
            std::thread::park_timeout(PAUSE);
        }
        for (service, (_, running)) in std::mem::take(&mut served.files) {
            self.tell_files(&service, None);
            running.end(runtime.as_ref());
        }
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(END);
        }
    }

    fn serve_files(
        self: &Arc<Self>,
        runtime: &Runtime,
        served: &mut Served,
        wanted: &BTreeMap<String, PathBuf>,
    ) {
        let gone = |(service, (directory, _)): (&String, &(PathBuf, Running))| {
            let stays =
                wanted.get(service) == Some(directory) && files::is_usable(directory).is_ok();
            (!stays).then(|| service.clone())
        };
        let gone: Vec<String> = served.files.iter().filter_map(gone).collect();
        for service in gone {
            self.tell_files(&service, None);
            if let Some((_, running)) = served.files.remove(&service) {
                // What is under way comes to its end by itself.
                running.stop.send_replace(true);
            }
        }
        served.troubles.retain(|service, _| wanted.contains_key(service));
        for (service, directory) in wanted {
            if served.files.contains_key(service) {
                continue;
            }
            match self.start_files(runtime, service, directory) {
                Ok(running) => {
                    served.files.insert(service.clone(), (directory.clone(), running));
                    if served.troubles.remove(service).is_some() {
                        tracing::info!(service, directory = %directory.display(), "files are served");
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if served.troubles.insert(service.clone(), text.clone()).as_ref() == Some(&text)
                    {
                        continue;
                    }
                    let directory = directory.display();
                    tracing::warn!(service, %directory, %error, "the files of a fallback are not served");
                    self.events.note("fallback_down", |event| {
                        event.service = service.clone();
                        event.message = format!("static:{directory}: {error}; make it readable");
                    });
                }
            }
        }
    }

    fn start_files(
        self: &Arc<Self>,
        runtime: &Runtime,
        service: &str,
        directory: &std::path::Path,
    ) -> std::io::Result<Running> {
        files::is_usable(directory)?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let files = Arc::new(files::Files {
            service: service.to_owned(),
            directory: directory.to_owned(),
            lookup: self.lookup(),
        });
        let tasks = vec![runtime.spawn(files::serve(listener, files, stopped))];
        tracing::info!(service, %address, directory = %directory.display(), "files can answer");
        self.tell_files(service, Some(address));
        Ok(Running { stop, tasks })
    }

    /// What the kernel knows of redirected connections.
    fn lookup(self: &Arc<Self>) -> Lookup {
        let guard = Arc::clone(self);
        Arc::new(move |client| guard.lock().kernel.asked(client))
    }

    /// Tells the kernel where the files of a service are.
    fn tell_files(&self, service: &str, address: Option<SocketAddr>) {
        if let Err(error) = self.set_fallback_address(service, address) {
            tracing::error!(service, %error, "the kernel does not know where files are served");
        }
    }
}

impl Running {
    fn end(self, runtime: Option<&Runtime>) {
        self.stop.send_replace(true);
        let Some(runtime) = runtime else { return };
        for task in self.tasks {
            if let Err(error) = runtime.block_on(task) {
                tracing::error!(%error, "a server panicked");
            }
        }
    }
}

/// The runtime, made when it is needed first.
fn running(runtime: &mut Option<Runtime>) -> std::io::Result<&Runtime> {
    if runtime.is_none() {
        *runtime = Some(
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .thread_name("guard-serve")
                .enable_all()
                .build()?,
        );
    }
    runtime.as_ref().ok_or_else(|| std::io::Error::other("no runtime"))
}

/// Directories to serve, by service.
fn files_of(plan: &Plan) -> BTreeMap<String, PathBuf> {
    let directory = |place: &Fallback| match place {
        Fallback::Static(directory) => Some(directory.clone()),
        Fallback::Address(_) => None,
    };
    let of = |service: &crate::plan::ServicePlan| {
        let first = service.fallback.places.iter().find_map(directory)?;
        Some((service.name.clone(), first))
    };
    plan.services.iter().filter_map(of).collect()
}
