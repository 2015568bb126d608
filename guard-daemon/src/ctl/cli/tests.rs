use clap::{CommandFactory as _, Parser as _};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words(line))
}

/// As a shell would split it, up to a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    let end = words.iter().position(|word| word == "|" || word == ">").unwrap_or(words.len());
    words.truncate(end);
    words
}

fn check_examples(command: &clap::Command) -> usize {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(examples.len(), 2, "two examples in the help of {}", command.get_name());
    for example in &examples {
        assert!(example.starts_with("guardctl "), "{example}");
        if let Err(error) = parse(example) {
            panic!("an example in the help of {} does not parse: {error}", command.get_name());
        }
    }
    assert!(command.get_about().is_some(), "{} says what it does", command.get_name());
    1 + command.get_subcommands().map(check_examples).sum::<usize>()
}

#[test]
fn every_command_has_two_examples_that_parse() {
    let mut command = Cli::command();
    command.build();
    assert_eq!(check_examples(&command), 46);
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn exec_leaves_the_options_of_the_command_alone() {
    for line in ["guardctl exec research -- ls -l --json", "guardctl exec research ls -l --json"] {
        let cli = parse(line).unwrap();
        assert!(!cli.global.json, "{line}");
        let Command::Exec(exec) = cli.command else { panic!("{line}") };
        assert_eq!(exec.command, ["ls", "-l", "--json"], "{line}");
    }
    let Command::Exec(exec) = parse("guardctl exec research -- sh -c -- x").unwrap().command else {
        panic!("not exec")
    };
    assert_eq!(exec.command, ["sh", "-c", "--", "x"]);
    assert!(parse("guardctl exec research").is_err());
}

fn error(line: &str) -> String {
    parse(line).unwrap_err().to_string()
}

#[test]
fn a_fault_needs_a_target_a_time_and_exactly_one_effect() {
    let base = "guardctl fault inject --bulkhead b --service s --for 30s";
    assert!(error(base).contains("--latency"), "{}", error(base));
    let two = error(&format!("{base} --loss 2% --latency 1s"));
    assert!(two.contains("cannot be used with"), "{two}");
    let jitter = error(&format!("{base} --loss 2% --jitter 1s"));
    assert!(jitter.contains("cannot be used with '--jitter <TIME>'"), "{jitter}");
    let errno = error(&format!("{base} --loss 2% --errno EPIPE"));
    assert!(errno.contains("cannot be used with '--errno <NAME>'"), "{errno}");
    let spread = error(&format!("{base} --latency 1s --distribution normal"));
    assert!(spread.contains("--jitter"), "{spread}");
    let gauss = error(&format!("{base} --latency 1s --jitter 1s --distribution gauss"));
    assert!(gauss.contains("uniform, normal, pareto"), "{gauss}");
    let burst = error(&format!("{base} --refuse 2% --burst 4"));
    assert!(burst.contains("cannot be used with"), "{burst}");
    let alone = error(&format!("{base} --jitter 1s"));
    assert!(alone.contains("--latency"), "{alone}");
    let no_time = error("guardctl fault inject --bulkhead b --service s --loss 2%");
    assert!(no_time.contains("--for"), "{no_time}");
    let no_service = error("guardctl fault inject --bulkhead b --for 30s --loss 2%");
    assert!(no_service.contains("--service"), "{no_service}");
    assert!(parse("guardctl fault inject --bulkhead b --unsafe-all --for 30s --loss 2%").is_ok());
    assert!(error(&format!("{base} --loss 2")).contains("write 2%"));
}

#[test]
fn a_request_says_what_the_arguments_say() {
    let line = "guardctl fault inject --bulkhead b --service s --for 1m30s --after 5s \
                --latency 300ms --jitter 50ms --distribution normal --seed 7";
    let Command::Fault(FaultCommand::Inject(arguments)) = parse(line).unwrap().command else {
        panic!("not inject")
    };
    let request = serde_json::to_value(arguments.request()).unwrap();
    let expected = serde_json::json!({
        "bulkhead": "b", "service": "s", "duration_seconds": 90.0, "start_after_seconds": 5.0,
        "latency_seconds": 0.3, "jitter_seconds": 0.05, "distribution": "normal",
        "loss_percent": null, "loss_burst": null,
        "refuse_percent": null, "errno": null, "pulse_on_seconds": null,
        "pulse_off_seconds": null, "seed": 7, "unsafe_all": false,
    });
    assert_eq!(request, expected);
    let line = "guardctl fault inject --bulkhead b --service s --for 1m --blackhole --pulse 5s/10s";
    let Command::Fault(FaultCommand::Inject(arguments)) = parse(line).unwrap().command else {
        panic!("not inject")
    };
    let request = arguments.request();
    assert_eq!(request.loss_percent, Some(100.0));
    assert_eq!((request.pulse_on_seconds, request.pulse_off_seconds), (Some(5.0), Some(10.0)));
}

#[test]
fn typing_errors_get_a_suggestion() {
    assert!(error("guardctl stauts").contains("'status'"));
    assert!(error("guardctl status --jsno").contains("'--json'"));
}
