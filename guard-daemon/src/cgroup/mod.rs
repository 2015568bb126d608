//! (module cgroup)
