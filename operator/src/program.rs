//! The programs of the platform.

use strum::IntoStaticStr;

/// A program that the operator deploys.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, Ord, PartialEq, PartialOrd)]
#[strum(serialize_all = "kebab-case")]
pub enum Program {
    /// user-service
    User,
    /// event-service
    Event,
    /// mock-gateway; before booking-service, which calls it
    MockGateway,
    /// booking-service
    Booking,
    /// notification-service
    Notification,
    /// The static site
    Frontend,
}

impl Program {
    /// In the order in which they are deployed.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Event, Self::MockGateway, Self::Booking, Self::Notification, Self::Frontend];

    /// The name in the spec, the status and object names.
    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn image(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Event => "event-service",
            Self::MockGateway => "mock-gateway",
            Self::Booking => "booking-service",
            Self::Notification => "notification-service",
            Self::Frontend => "frontend",
        }
    }

    /// Whether it has a `migrate` command.
    pub fn migrates(self) -> bool {
        self != Self::Frontend
    }

    pub fn uses_postgres(self) -> bool {
        matches!(self, Self::User | Self::Booking | Self::MockGateway)
    }

    pub fn uses_mongodb(self) -> bool {
        matches!(self, Self::Event | Self::Notification)
    }

    pub fn uses_rabbitmq(self) -> bool {
        matches!(self, Self::User | Self::Event | Self::Booking | Self::Notification)
    }

    /// Suffix of the derived Secret's name.
    pub fn secret_suffix(self) -> String {
        format!("{}-config", self.name())
    }
}
