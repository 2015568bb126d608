//! guard's test-bed: scripted servers, small agents, cgroups, network namespaces, and a real
//! guardd, for the native suite, the demonstration and the benchmarks. It uses loopback and
//! namespaces of its own only, ends only what it started, and leaves nothing on the host.

pub mod agent;
pub mod attempt;
pub mod cgroup;
pub mod guardd;
pub mod http;
pub mod netns;
pub mod process;
pub mod requires;
pub mod server;
pub mod sockopts;
pub mod span;
pub mod stats;
pub mod timing;
pub mod wait;
