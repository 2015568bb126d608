//! Ids of bulkheads and services: handed out once per name and kept over reloads, so that
//! counters and sockets that carry them stay right. An id is never given to another name.

use std::collections::BTreeMap;

use guard_common::abi::ids::SERVICE_OTHER;

/// Name of the built-in service that takes what no endpoint matches.
pub const OTHER: &str = "other";

/// Registry of ids.
#[derive(Debug, Default)]
pub struct Ids {
    bulkheads: BTreeMap<String, u32>,
    services: BTreeMap<String, u32>,
}

impl Ids {
    /// The id of a bulkhead (from 1), made at the first call.
    pub fn bulkhead(&mut self, name: &str) -> u32 {
        let next = self.bulkheads.len() as u32 + 1;
        *self.bulkheads.entry(name.to_owned()).or_insert(next)
    }

    /// The id of a service (from 1; `other` is 0), made at the first call.
    pub fn service(&mut self, name: &str) -> u32 {
        if name == OTHER {
            return SERVICE_OTHER;
        }
        let next = self.services.len() as u32 + 1;
        *self.services.entry(name.to_owned()).or_insert(next)
    }

    /// The name of a bulkhead id.
    pub fn bulkhead_name(&self, id: u32) -> Option<&str> {
        self.bulkheads.iter().find(|(_, v)| **v == id).map(|(k, _)| k.as_str())
    }

    /// The name of a service id.
    pub fn service_name(&self, id: u32) -> Option<&str> {
        if id == SERVICE_OTHER {
            return Some(OTHER);
        }
        self.services.iter().find(|(_, v)| **v == id).map(|(k, _)| k.as_str())
    }
}
