//! Collective communication between the members of a group.
//!
//! So far: [`schedule`], the algorithms as data, and [`clock`], which says how long they take.

pub mod clock;
pub mod schedule;

pub(crate) mod link {
    #[cfg(feature = "opencl")]
    #[cfg_attr(not(test), allow(dead_code, reason = "what groups of GPUs will be made of"))]
    pub(crate) mod peer;
}
