//! Values as the kernel writes them.

use super::*;
use crate::plan::IoMaxPlan;

#[test]
fn every_limit_is_one_value_of_one_file() {
    let plan = LimitsPlan {
        memory_max: Some(2 << 30),
        memory_high: Some((1 << 30) + 5000),
        memory_swap_max: Some(0),
        memory_oom_group: Some(false),
        cpu_max: Some(150.0),
        cpu_weight: Some(50),
        pids_max: Some(256),
        io_weight: Some(70),
        io_max: vec![IoMaxPlan {
            device: "/dev/vda".into(),
            rbps: Some(10 << 20),
            wbps: None,
            riops: None,
            wiops: Some(100),
        }],
    };
    let lines: Vec<String> =
        settings(&plan).iter().map(|s| format!("{} {} {}", s.file, s.value, s.number)).collect();
    let names: Vec<String> = settings(&plan).iter().map(Setting::name).collect();
    let wanted = [
        // Whole pages, as the kernel shows it.
        "memory.high 1073745920 1073745920",
        "memory.max 2147483648 2147483648",
        "memory.swap.max 0 0",
        "memory.oom.group 0 0",
        "cpu.max 150000 100000 1.5",
        "cpu.weight 50 50",
        "pids.max 256 256",
        "io.weight 70 70",
        "io.max 10485760 10485760",
        "io.max 100 100",
    ];
    assert_eq!(names[7..], ["io_weight", "io_max /dev/vda rbps", "io_max /dev/vda wiops"]);
    assert_eq!(lines, wanted);
    assert!(settings(&LimitsPlan::default()).is_empty(), "nothing asked for, nothing touched");
}

#[test]
fn the_smallest_share_of_a_processor_is_what_the_kernel_takes() {
    let plan = LimitsPlan { cpu_max: Some(1.0), ..LimitsPlan::default() };
    assert_eq!(settings(&plan)[0].value, "1000 100000");
}
