//! What may be done when, without processes.

use super::core::{Applications, Ended, Phase};
use super::*;

fn atom(text: &'static str) -> Atom {
    Atom::from_static(text)
}

fn application(name: &'static str, depends_on: &[&'static str]) -> Application {
    depends_on.iter().fold(Application::new(name), |application, needed| application.depends_on(*needed))
}

fn applications(all: &[(&'static str, &[&'static str])]) -> Applications {
    let mut applications = Applications::default();
    for (name, depends_on) in all {
        applications.load(application(name, depends_on)).unwrap();
    }
    applications
}

fn run(applications: &mut Applications, name: &'static str, start_type: StartType) {
    applications.start(&atom(name), start_type).unwrap();
    applications.started(&atom(name), true);
}

#[test]
fn what_an_application_needs_starts_before_it() {
    let mut applications = applications(&[
        ("top", &["left", "right"]),
        ("left", &["base"]),
        ("right", &["base"]),
        ("base", &[]),
    ]);
    let order = |applications: &Applications| applications.start_order(&atom("top")).unwrap();
    assert_eq!(order(&applications), ["base", "left", "right", "top"]);
    assert_eq!(
        applications.start(&atom("left"), StartType::Temporary),
        Err(ApplicationError::NotStarted(atom("base")))
    );
    for name in ["base", "left"] {
        run(&mut applications, name, StartType::Temporary);
    }
    assert_eq!(order(&applications), ["right", "top"], "those that run are left alone");
    run(&mut applications, "right", StartType::Temporary);
    run(&mut applications, "top", StartType::Temporary);
    assert!(order(&applications).is_empty());
    assert_eq!(applications.stop_order(), ["top", "right", "left", "base"]);
}

#[test]
fn a_circle_is_named_and_so_is_what_is_not_there() {
    let applications =
        applications(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &["b"]), ("d", &["e"]), ("self", &["self"])]);
    let error = |name| applications.start_order(&atom(name)).unwrap_err();
    assert_eq!(error("a").to_string(), "applications depend on each other: b -> c -> b");
    assert_eq!(error("self").to_string(), "applications depend on each other: self -> self");
    assert_eq!(error("d").to_string(), "no application e is loaded (not_loaded)");
}

#[test]
fn an_application_has_one_life_at_a_time() {
    let mut applications = applications(&[("a", &[])]);
    let a = atom("a");
    assert_eq!(applications.load(application("a", &[])), Err(ApplicationError::AlreadyLoaded(a.clone())));
    assert_eq!(applications.stop(&a), Err(ApplicationError::NotStarted(a.clone())));
    applications.start(&a, StartType::Temporary).unwrap();
    let again = applications.start(&a, StartType::Temporary);
    assert_eq!(again, Err(ApplicationError::AlreadyStarted(a.clone())));
    applications.started(&a, false);
    assert_eq!(applications.phase(&a), Ok(Phase::Loaded));
    run(&mut applications, "a", StartType::Temporary);
    assert_eq!(applications.unload(&a), Err(ApplicationError::Running(a.clone())));
    applications.stop(&a).unwrap();
    assert_eq!(applications.start(&a, StartType::Temporary), Err(ApplicationError::Running(a.clone())));
    assert_eq!(applications.ended(&a, &ExitReason::Normal), Ended::AsTold);
    assert_eq!(applications.unload(&a), Ok(()));
    assert_eq!(applications.unload(&a), Err(ApplicationError::NotLoaded(a)));
}

#[test]
fn only_some_ends_take_the_node_along() {
    let crash = ExitReason::atom("crash");
    // Source: `handle_info({'EXIT', ..})` in application_controller.erl: of a transient one only `normal` is harmless.
    for (start_type, reason, expected) in [
        (StartType::Permanent, &ExitReason::Normal, Ended::WithNode),
        (StartType::Permanent, &crash, Ended::WithNode),
        (StartType::Transient, &ExitReason::Normal, Ended::Alone),
        (StartType::Transient, &ExitReason::Shutdown, Ended::WithNode),
        (StartType::Transient, &crash, Ended::WithNode),
        (StartType::Temporary, &crash, Ended::Alone),
    ] {
        let mut applications = applications(&[("a", &[])]);
        run(&mut applications, "a", start_type);
        assert_eq!(applications.ended(&atom("a"), reason), expected, "{start_type:?} {reason}");
        assert!(applications.stop_order().is_empty());
    }
}
