//! End-to-end tests: fixtures here, one file per promise in tests/.
