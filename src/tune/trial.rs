//! A point on trial: calls of this thread take it in place of the one they would choose.

use super::space::{Space, Values};
use std::cell::{Cell, RefCell};

thread_local! {
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
    static TRIAL: RefCell<Option<Trial>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct Trial {
    space: &'static Space,
    /// `None`: the default, whatever the store says.
    values: Option<Values>,
}

/// What a trial says about a space.
pub(crate) enum On {
    /// Nothing: no trial, or of another space.
    Nothing,
    Default,
    Point(Values),
}

/// Runs `f` with a point of `space` on trial, `None` for the default.
pub(super) fn with<R>(space: &'static Space, values: Option<Values>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Trial>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            ACTIVE.set(before.is_some());
            TRIAL.set(before);
        }
    }
    let _restore = Restore(TRIAL.replace(Some(Trial { space, values })));
    ACTIVE.set(true);
    f()
}

/// What is on trial for `space`.
pub(crate) fn of(space: &'static Space) -> On {
    if !ACTIVE.get() {
        return On::Nothing;
    }
    TRIAL.with_borrow(|t| match t {
        Some(t) if std::ptr::eq(t.space, space) => match &t.values {
            Some(values) => On::Point(values.clone()),
            None => On::Default,
        },
        _ => On::Nothing,
    })
}

/// The space that is on trial.
pub(crate) fn space() -> Option<&'static Space> {
    if !ACTIVE.get() {
        return None;
    }
    TRIAL.with_borrow(|t| t.as_ref().map(|t| t.space))
}
