//! booking-service
