//! clan
