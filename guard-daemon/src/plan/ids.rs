//! Ids of bulkheads and services: handed out once per name and kept over reloads, so that
//! counters and sockets that carry them stay right. An id is never given to another name, in this
//! life of the daemon or a later one that takes its maps over.

use std::collections::HashMap;

use guard_common::abi::ids::{BULKHEAD_NONE, SERVICE_OTHER};

/// Name of the built-in service that takes what no endpoint matches.
pub const OTHER: &str = "other";

/// Registry of ids.
#[derive(Debug, Default)]
pub struct Ids {
    bulkheads: Names,
    services: Names,
}

/// Names in the order of their ids, which begin at 1.
#[derive(Debug, Default)]
struct Names {
    by_id: Vec<String>,
    by_name: HashMap<String, u32>,
}

impl Names {
    fn from_list(by_id: Vec<String>) -> Self {
        let by_name = by_id.iter().zip(1..).map(|(name, id)| (name.clone(), id)).collect();
        Self { by_id, by_name }
    }

    fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        self.by_id.push(name.to_owned());
        let id = self.by_id.len() as u32;
        self.by_name.insert(name.to_owned(), id);
        id
    }

    fn name(&self, id: u32) -> Option<&str> {
        self.by_id.get((id as usize).checked_sub(1)?).map(String::as_str)
    }
}

impl Ids {
    /// As an earlier life has handed them out: names in the order of their ids.
    pub fn from_names(bulkheads: Vec<String>, services: Vec<String>) -> Self {
        Self { bulkheads: Names::from_list(bulkheads), services: Names::from_list(services) }
    }

    /// Names of bulkheads in the order of their ids.
    pub fn bulkhead_names(&self) -> &[String] {
        &self.bulkheads.by_id
    }

    /// Names of services in the order of their ids.
    pub fn service_names(&self) -> &[String] {
        &self.services.by_id
    }

    /// The id of a bulkhead (from 1), made at the first call.
    pub fn bulkhead(&mut self, name: &str) -> u32 {
        self.bulkheads.id(name)
    }

    /// The id of a service (from 1; `other` is 0), made at the first call.
    pub fn service(&mut self, name: &str) -> u32 {
        if name == OTHER { SERVICE_OTHER } else { self.services.id(name) }
    }

    /// The name of a bulkhead id; empty for "none" and for what was never handed out.
    pub fn bulkhead_name(&self, id: u32) -> &str {
        const { assert!(BULKHEAD_NONE == 0) };
        self.bulkheads.name(id).unwrap_or_default()
    }

    /// Id of a service by name, if it has one.
    pub fn service_id(&self, name: &str) -> Option<u32> {
        if name == OTHER { Some(SERVICE_OTHER) } else { self.services.by_name.get(name).copied() }
    }

    /// The name of a service id; empty for what was never handed out.
    pub fn service_name(&self, id: u32) -> &str {
        if id == SERVICE_OTHER { OTHER } else { self.services.name(id).unwrap_or_default() }
    }

    /// Ids of every service that was ever configured, `other` included.
    pub fn all_services(&self) -> impl Iterator<Item = u32> + use<> {
        0..=self.services.by_id.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_and_never_reused() {
        let mut ids = Ids::default();
        assert_eq!(ids.bulkhead("a"), 1);
        assert_eq!(ids.bulkhead("b"), 2);
        assert_eq!(ids.bulkhead("a"), 1);
        assert_eq!(ids.service("other"), 0);
        assert_eq!(ids.service("github"), 1);
        assert_eq!(ids.service_name(1), "github");
        assert_eq!(ids.service_name(0), "other");
        assert_eq!((ids.service_name(9), ids.bulkhead_name(0)), ("", ""));
        let (bulkheads, services) = (ids.bulkhead_names().to_vec(), ids.service_names().to_vec());
        let mut later = Ids::from_names(bulkheads, services);
        assert_eq!((later.bulkhead("b"), later.service("github")), (2, 1));
        assert_eq!((later.bulkhead("c"), later.service("search")), (3, 2));
    }
}
