//! Directories of `static:` fallbacks: served while they can be read.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Running, Serving, Troubles};
use crate::gateway::files;
use crate::plan::{Fallback, Plan, ServicePlan};

/// Those that are served, by service.
#[derive(Default)]
pub(super) struct Served {
    running: BTreeMap<String, (PathBuf, Running)>,
    troubles: Troubles,
}

/// Those to serve.
pub(super) fn wanted(plan: &Plan) -> BTreeMap<String, PathBuf> {
    let directory = |place: &Fallback| match place {
        Fallback::Static(directory) => Some(directory.clone()),
        Fallback::Address(_) => None,
    };
    let of = |service: &ServicePlan| {
        let first = service.fallback.places.iter().find_map(directory)?;
        Some((service.name.clone(), first))
    };
    plan.services.iter().filter_map(of).collect()
}

impl Serving {
    pub(super) fn serve_files(&mut self, wanted: &BTreeMap<String, PathBuf>) {
        let gone = |(service, (directory, running)): (&String, &(PathBuf, Running))| {
            let stays = wanted.get(service) == Some(directory)
                && running.goes_on()
                && files::is_usable(directory).is_ok();
            (!stays).then(|| service.clone())
        };
        let gone: Vec<String> = self.files.running.iter().filter_map(gone).collect();
        for service in gone {
            self.tell_files(&service, None);
            if let Some((_, running)) = self.files.running.remove(&service) {
                self.retire(running);
            }
        }
        self.files.troubles.0.retain(|service, _| wanted.contains_key(service));
        for (service, directory) in wanted {
            if self.files.running.contains_key(service) {
                continue;
            }
            match self.start_files(service, directory) {
                Ok(running) => {
                    let running = (directory.clone(), running);
                    self.files.running.insert(service.clone(), running);
                    if self.files.troubles.end(service) {
                        tracing::info!(service, directory = %directory.display(), "files are served");
                    }
                }
                Err(error) if self.files.troubles.add(service, error.to_string()) => {
                    let directory = directory.display();
                    tracing::warn!(service, %directory, %error, "the files of a fallback are not served");
                    self.guard.events.note("fallback_down", |event| {
                        event.service.clone_from(service);
                        event.message = format!("static:{directory}: {error}; make it readable");
                    });
                }
                Err(_) => {}
            }
        }
    }

    fn start_files(&self, service: &str, directory: &Path) -> std::io::Result<Running> {
        files::is_usable(directory)?;
        let files = Arc::new(files::Files {
            service: service.to_owned(),
            directory: directory.to_owned(),
            lookup: Arc::clone(&self.lookup),
        });
        let on = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let (running, addresses) =
            self.start(&on, |listener, stop| files::serve(listener, Arc::clone(&files), stop))?;
        tracing::info!(service, ?addresses, directory = %directory.display(), "files can answer");
        self.tell_files(service, addresses.first().copied());
        Ok(running)
    }

    /// Tells the kernel where the files of a service are.
    fn tell_files(&self, service: &str, address: Option<SocketAddr>) {
        if let Err(error) = self.guard.set_fallback_address(service, address) {
            tracing::error!(service, %error, "the kernel does not know where files are served");
        }
    }
}
