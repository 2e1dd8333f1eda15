//! Probation against an account of its own, which writes down each second that was served.

use super::ProbationEvent as E;
use super::*;
use proptest::prelude::*;

type P = Probation<&'static str>;
type Step = ProbationStep<&'static str>;

fn at(boot: usize, seconds: u64) -> Reading {
    Reading { boot: format!("boot-{boot}").parse().unwrap(), at: Duration::from_secs(seconds) }
}

fn begin(seconds: u64) -> E<&'static str> {
    E::Begin { before: "1", to: "2", length: Span::from_millis(seconds * 1000) }
}

/// The last step of these events.
fn after(events: impl IntoIterator<Item = E<&'static str>>) -> (P, Step) {
    let start = (P::None, Step::Nothing);
    events.into_iter().fold(start, |(phase, _), event| phase.next(event).unwrap())
}

fn ended() -> E<&'static str> {
    E::Failed(Misfit::Ended(ExitStatus::Code(1)))
}

#[test]
fn a_version_that_runs_well_for_long_enough_has_passed() {
    let (phase, step) = after([begin(30), E::Ready(at(1, 100))]);
    assert_eq!(step, Step::LookAfter(Duration::from_secs(30)));
    assert_eq!(phase.remaining(&at(1, 110)), Some(Duration::from_secs(20)));
    let (phase, step) = phase.next(E::Look(at(1, 129))).unwrap();
    assert_eq!(step, Step::LookAfter(Duration::from_secs(1)));
    assert_eq!(phase.next(E::Look(at(1, 130))).unwrap(), (P::Passed, Step::Passed));
}

#[test]
fn without_a_length_it_has_to_become_ready() {
    let (phase, step) = after([begin(0), E::Look(at(1, 1)), E::Held(at(1, 2)), E::Stopped]);
    assert!(matches!(phase, P::Serving(_)) && step == Step::Nothing);
    assert_eq!(phase.clone().next(E::Ready(at(1, 3))).unwrap().0, P::Passed);
    assert!(matches!(phase.next(ended()).unwrap().0, P::Failed { .. }));
}

#[test]
fn a_stop_keeps_the_version_and_begins_anew() {
    let (phase, _) = after([begin(30), E::Ready(at(1, 0)), E::Look(at(1, 29)), E::Stopped]);
    assert_eq!(phase.remaining(&at(1, 50)), Some(Duration::from_secs(30)));
    let (phase, _) = phase.next(E::Ready(at(1, 60))).unwrap();
    assert!(matches!(phase.next(E::Look(at(1, 89))).unwrap().0, P::Serving(_)));
}

#[test]
fn a_restart_of_the_manager_loses_no_time_and_a_reboot_only_what_was_not_written() {
    let (phase, _) = after([begin(30), E::Ready(at(1, 100)), E::Look(at(1, 110))]);
    // The manager was away for 15 seconds.
    let (away, _) = phase.clone().next(E::Look(at(1, 125))).unwrap();
    assert_eq!(away.remaining(&at(1, 125)), Some(Duration::from_secs(5)));
    // The machine was booted; its clock is behind the last one.
    let (booted, step) = phase.next(E::Look(at(2, 3))).unwrap();
    assert_eq!((booted.remaining(&at(2, 9)), step), (Some(Duration::from_secs(20)), Step::Nothing));
    // Nor is the time counted where the clock of the new boot is ahead of that of the old one.
    let (late, _) = after([begin(30), E::Ready(at(1, 100)), E::Look(at(2, 500))]);
    assert_eq!(late.remaining(&at(2, 900)), Some(Duration::from_secs(30)));
    let (booted, _) = booted.next(E::Ready(at(2, 10))).unwrap();
    assert_eq!(booted.next(E::Look(at(2, 30))).unwrap().1, Step::Passed);
}

#[test]
fn a_version_that_does_not_work_is_rejected_and_said_again_until_it_went_back() {
    let misfits = [
        (Misfit::Ended(ExitStatus::Signal(9)), "it was ended by signal 9"),
        (Misfit::Unwell(Unwell::NotReady), "it was not ready in time"),
        (Misfit::NotLaunched("no such file".into()), "it could not be started: no such file"),
    ];
    for (misfit, reason) in misfits {
        let back = Step::GoBack { to: "1", reason: reason.to_owned() };
        let (phase, step) = after([begin(30), E::Ready(at(1, 0)), E::Failed(misfit)]);
        assert_eq!(step, back);
        let (phase, step) = phase.next(E::Look(at(2, 0))).unwrap();
        assert_eq!(step, back, "the manager was killed in between");
        assert!(phase.clone().next(begin(1)).is_err());
        assert_eq!(phase.next(E::WentBack).unwrap(), (P::None, Step::Nothing));
    }
    let endless = Misfit::NotLaunched("ä".repeat(10_000));
    let (phase, _) = after([begin(30), E::Failed(endless)]);
    assert!(matches!(phase, P::Failed { reason, .. } if reason.chars().count() == 400));
}

#[test]
fn an_update_meanwhile_comes_back_to_what_had_shown_that_it_works() {
    let length = Span::from_millis(1000);
    let (phase, _) = after([begin(30), E::Begin { before: "2", to: "3", length }, ended()]);
    assert!(matches!(phase, P::Failed { before: "1", .. }));
    let (phase, _) = after([begin(30), E::Begin { before: "2", to: "1", length }]);
    assert_eq!(phase, P::None, "it is where it came from");
}

#[test]
fn a_revert_ends_it_and_a_version_that_did_its_work_has_passed() {
    assert_eq!(after([begin(30), E::Reverted]), (P::None, Step::Nothing));
    assert_eq!(after([begin(30), ended(), E::Reverted]).0, P::None);
    assert_eq!(after([begin(30), E::Finished]), (P::Passed, Step::Passed));
    assert!(P::None.next(E::WentBack).is_err());
}

#[test]
fn a_boot_is_named_by_letters_digits_and_hyphens() {
    for bad in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
        assert!(bad.parse::<BootId>().is_err(), "{bad}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Wait(u64),
    Ready,
    Look,
    Held,
    Stopped,
    /// The manager dies: what it had not written is lost, which is nothing.
    Manager,
    Reboot,
    Failed,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    use Deed::*;
    let one = prop_oneof![
        5 => (1u64..20).prop_map(Wait),
        3 => Just(Ready), 3 => Just(Look), 1 => Just(Held), 1 => Just(Stopped),
        1 => Just(Manager), 1 => Just(Reboot), 1 => Just(Failed),
    ];
    prop::collection::vec(one, 0..60)
}

proptest! {
    /// The account: a list of the seconds in which it ran well, each with whether it was written down.
    #[test]
    fn whatever_happens_time_is_counted_once_and_the_verdict_is_given_once(
        deeds in deeds(), length in 1u64..60
    ) {
        let (mut phase, _) = after([begin(length)]);
        let (mut boot, mut clock, mut runs) = (1, 0u64, false);
        let (mut written, mut since_written) = (0u64, 0u64);
        let mut verdicts = 0;
        for deed in deeds {
            let serving = matches!(phase, P::Serving(_));
            let event = match deed {
                Deed::Wait(seconds) => {
                    clock += seconds;
                    since_written += if runs { seconds } else { 0 };
                    continue;
                }
                Deed::Reboot => {
                    (boot, clock, runs, since_written) = (boot + 1, clock * 7 % 100, false, 0);
                    E::Look(at(boot, clock))
                }
                Deed::Ready => E::Ready(at(boot, clock)),
                Deed::Look | Deed::Manager => E::Look(at(boot, clock)),
                Deed::Held => E::Held(at(boot, clock)),
                Deed::Stopped => E::Stopped,
                Deed::Failed => ended(),
            };
            written += since_written;
            since_written = 0;
            match deed {
                Deed::Ready => runs = true,
                Deed::Held => runs = false,
                Deed::Stopped => (runs, written) = (false, 0),
                _ => {}
            }
            let (next, step) = phase.next(event).unwrap();
            phase = next;
            if !serving {
                prop_assert!(!matches!(phase, P::Serving(_)), "a verdict is final");
                continue;
            }
            let expected = match deed {
                Deed::Failed => Step::GoBack { to: "1", reason: "it ended with exit code 1".into() },
                _ if written >= length => Step::Passed,
                _ if runs => Step::LookAfter(Duration::from_secs(length - written)),
                _ => Step::Nothing,
            };
            verdicts += usize::from(matches!(step, Step::Passed | Step::GoBack { .. }));
            prop_assert_eq!(step, expected, "after {:?}", deed);
            if let Some(remaining) = phase.remaining(&at(boot, clock)) {
                prop_assert_eq!(remaining, Duration::from_secs(length - written));
            }
        }
        prop_assert!(verdicts <= 1);
    }

    #[test]
    fn a_boot_prints_and_parses_to_itself(text in "\\PC{0,70}|[a-f0-9-]{1,64}") {
        if let Ok(boot) = text.parse::<BootId>() {
            prop_assert_eq!(boot.to_string(), text);
        }
    }
}
