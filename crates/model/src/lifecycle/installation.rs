//! The states of an installation: `active --Uninstall--> uninstalled`, which is final. Versions come and
//! go while it is active; an installation with instances cannot be uninstalled.

use super::{Illegal, state_words};

/// What is true of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstallationState {
    /// It can be updated and have instances.
    Active,
    /// It is gone; its directory may not be yet.
    Uninstalled,
}

/// What happens to an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstallationEvent {
    /// One more instance.
    CreateInstance,
    /// Another version becomes current.
    Switch,
    /// It shall go; it has this many instances.
    Uninstall {
        /// Instances that are not deleted.
        instances: u32,
    },
}

impl InstallationState {
    /// The state after `event`.
    ///
    /// # Errors
    /// The event is not possible in this state.
    pub fn next(
        self,
        event: InstallationEvent,
    ) -> Result<InstallationState, Illegal<InstallationState, InstallationEvent>> {
        use InstallationEvent as E;
        use InstallationState as S;
        match (self, event) {
            (S::Active, E::CreateInstance | E::Switch) => Ok(S::Active),
            (S::Active, E::Uninstall { instances: 0 }) => Ok(S::Uninstalled),
            (state, event) => Err(Illegal { state, event }),
        }
    }
}

state_words!(InstallationState, "state of an installation", Active => "active", Uninstalled => "uninstalled");

#[cfg(test)]
mod tests {
    use super::*;
    use InstallationEvent as E;
    use InstallationState as S;

    #[test]
    fn an_installation_with_instances_stays() {
        assert!(S::Active.next(E::Uninstall { instances: 1 }).is_err());
        assert_eq!(S::Active.next(E::Uninstall { instances: 0 }), Ok(S::Uninstalled));
    }

    #[test]
    fn what_is_uninstalled_answers_nothing() {
        for event in [E::CreateInstance, E::Switch, E::Uninstall { instances: 0 }] {
            assert!(S::Uninstalled.next(event).is_err());
        }
    }
}
