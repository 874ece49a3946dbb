//! The model: bookings of a few events, what may be asked of them, and where that leads once nothing is under way.

/// How a person pays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Card {
    /// Charged at once.
    Good,
    /// Charged, but the gateway never answers.
    Silent,
    /// Declined at once.
    Declined,
    /// The gateway fails before it charges.
    Failing,
    /// No such card.
    Unknown,
    /// Charged when the gateway gets to it.
    Late,
    /// Declined when the gateway gets to it.
    LateDeclined,
}

/// What happens next. Bookings and requests are counted back from the newest, which is 0, and around; events from 0.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Somebody books seats.
    Book { person: usize, event: usize, seats: u32 },
    /// The owner pays a booking.
    Pay { booking: usize, card: Card },
    /// The owner cancels a booking.
    Cancel { booking: usize },
    /// An earlier request comes again, under the same idempotency key.
    Repeat { request: usize },
    /// The time of every hold is over.
    HoldsEnd,
    /// The gateway gets to a payment that it left open.
    Settle { booking: usize },
    /// The organizer calls an event off.
    CallOff { event: usize },
    /// A ticket of a booking is scanned at the door.
    CheckIn { booking: usize, seat: usize },
    /// The organizer undoes the check-in of a ticket.
    UndoCheckIn { booking: usize, seat: usize },
}

/// Where a booking stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Pending,
    Confirmed,
    Rejected,
    Expired,
    Cancelled,
}

/// Where its money stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Money {
    Unpaid,
    Paid,
    Failed,
    Refunded,
}

/// Where a ticket stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ticket {
    Valid,
    Used,
    Void,
}

/// An answer: its status, and the code if it is a refusal.
pub(crate) type Answer = (u16, Option<&'static str>);

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) capacity: u32,
    pub(crate) price: i64,
    /// Seats that one booking may have, and one person may hold.
    pub(crate) most_per_booking: u32,
    /// Seats that one person may have, held and sold.
    pub(crate) most_per_person: Option<u32>,
    pub(crate) cancelled: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Booking {
    pub(crate) person: usize,
    pub(crate) event: usize,
    pub(crate) seats: u32,
    pub(crate) status: Status,
    pub(crate) money: Money,
    /// A payment that the gateway left open, and how it will end.
    pub(crate) open: Option<Card>,
    pub(crate) charges: Vec<i64>,
    pub(crate) refunds: Vec<i64>,
    /// By seat; none until it is Confirmed.
    pub(crate) tickets: Vec<Ticket>,
    /// What its owner was told of it.
    pub(crate) told: Vec<&'static str>,
}

/// The model's state.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) events: Vec<Event>,
    pub(crate) bookings: Vec<Booking>,
    /// The answers to bookings and payments so far, and what each was about; `None` if it may not be repeated.
    pub(crate) requests: Vec<Option<Answer>>,
}

const OK: Answer = (200, None);
const CREATED: Answer = (201, None);
const ACCEPTED: Answer = (202, None);
const NO_CONTENT: Answer = (204, None);

fn conflict(code: &'static str) -> Answer {
    (409, Some(code))
}

/// What a command comes to, with its numbers resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// There is nothing that it could be about.
    Nothing,
    /// Something happens by itself.
    Happens(usize),
    /// A request about that booking, event or request is answered so.
    Asked(usize, Answer),
}

impl World {
    pub(crate) fn new(events: Vec<Event>) -> Self {
        Self { events, bookings: Vec::new(), requests: Vec::new() }
    }

    /// Held and sold seats of an event.
    pub(crate) fn seats(&self, event: usize) -> (u32, u32) {
        let sum = |status| {
            let of_event = self.bookings.iter().filter(|booking| booking.event == event && booking.status == status);
            of_event.map(|booking| booking.seats).sum()
        };
        (sum(Status::Pending), sum(Status::Confirmed))
    }

    /// Held and sold seats of a person.
    pub(crate) fn seats_of(&self, person: usize, event: usize) -> (u32, u32) {
        let sum = |status| {
            let of_person =
                self.bookings.iter().filter(|it| (it.person, it.event, it.status) == (person, event, status));
            of_person.map(|booking| booking.seats).sum()
        };
        (sum(Status::Pending), sum(Status::Confirmed))
    }

    /// Why a person may not take so many seats more; those that are paid for already count as held by nobody.
    fn person_limit(&self, person: usize, event: usize, seats: u32, paid: bool) -> Option<Answer> {
        let (held, sold) = self.seats_of(person, event);
        let Event { price, most_per_booking, most_per_person, .. } = self.events[event];
        let most = most_per_person.or((price == 0).then_some(most_per_booking));
        if most.is_some_and(|most| held + sold + seats > most) {
            return Some(conflict("person_limit_reached"));
        }
        (price > 0 && !paid && held + seats > most_per_booking).then_some((429, Some("held_seats_limit")))
    }

    fn available(&self, event: usize) -> u32 {
        let (held, sold) = self.seats(event);
        self.events[event].capacity - held - sold
    }

    /// Does what a command says.
    pub(crate) fn apply(&mut self, command: &Command) -> Step {
        let bookings = self.bookings.len();
        let back = |number: usize, count: usize| number.checked_rem(count).map(|back| count - 1 - back);
        match *command {
            Command::Book { person, event, seats } => {
                let event = event % self.events.len();
                let answer = self.book(person, event, seats);
                // What passes when a hold ends leaves no booking, and the same request again would run again.
                self.asked(self.bookings.len().saturating_sub(1), answer, answer.0 != 429)
            }
            Command::Pay { booking, card } => match back(booking, bookings) {
                Some(booking) => {
                    let answer = self.pay(booking, card);
                    // These are not kept: the same request again would run again.
                    let passes = answer.0 >= 500 || answer.1 == Some("payment_in_progress");
                    self.asked(booking, answer, !passes)
                }
                None => Step::Nothing,
            },
            Command::Cancel { booking } => match back(booking, bookings) {
                Some(booking) => Step::Asked(booking, self.cancel(booking)),
                None => Step::Nothing,
            },
            Command::Repeat { request } => {
                let request = back(request, self.requests.len());
                let repeatable = request.and_then(|request| Some((request, self.requests[request]?)));
                repeatable.map_or(Step::Nothing, |(request, answer)| Step::Asked(request, answer))
            }
            Command::HoldsEnd => {
                self.bookings.iter_mut().filter(|it| it.status == Status::Pending).for_each(Booking::expire);
                Step::Happens(0)
            }
            Command::Settle { booking } => match back(booking, bookings) {
                Some(booking) if self.bookings[booking].open.is_some() => {
                    self.settle(booking);
                    Step::Happens(booking)
                }
                _ => Step::Nothing,
            },
            Command::CallOff { event } => {
                let event = event % self.events.len();
                self.call_off(event);
                Step::Asked(event, OK)
            }
            Command::CheckIn { booking, seat } => self.at_the_door(booking, seat, Booking::check_in),
            Command::UndoCheckIn { booking, seat } => self.at_the_door(booking, seat, Booking::undo_check_in),
        }
    }

    /// Something about a ticket of a booking, counted back; the seat goes around too.
    fn at_the_door(&mut self, back: usize, seat: usize, act: fn(&mut Booking, usize) -> Answer) -> Step {
        let Some(back) = back.checked_rem(self.bookings.len()) else { return Step::Nothing };
        let booking = self.bookings.len() - 1 - back;
        match seat.checked_rem(self.bookings[booking].tickets.len()) {
            Some(seat) => Step::Asked(booking, act(&mut self.bookings[booking], seat)),
            None => Step::Nothing,
        }
    }

    fn asked(&mut self, about: usize, answer: Answer, repeatable: bool) -> Step {
        self.requests.push(repeatable.then_some(answer));
        Step::Asked(about, answer)
    }

    fn book(&mut self, person: usize, event: usize, seats: u32) -> Answer {
        let Event { price, cancelled, most_per_booking, .. } = self.events[event];
        let refusal = if cancelled {
            Some(conflict("event_cancelled"))
        } else if seats > most_per_booking {
            Some((422, Some("too_many_seats")))
        } else if let Some(limit) = self.person_limit(person, event, seats, false) {
            Some(limit)
        } else {
            (seats > self.available(event)).then_some(conflict("sold_out"))
        };
        if let Some(passing @ (429, _)) = refusal {
            return passing;
        }
        self.bookings.push(Booking::new(person, event, seats));
        let booking = self.bookings.last_mut().expect("one was made");
        if let Some(answer) = refusal {
            booking.status = Status::Rejected;
            return answer;
        }
        if price == 0 {
            booking.confirm();
        }
        CREATED
    }

    fn pay(&mut self, number: usize, card: Card) -> Answer {
        let price = self.events[self.bookings[number].event].price;
        let booking = &mut self.bookings[number];
        match (booking.status, booking.money) {
            (Status::Cancelled, _) => return conflict("booking_cancelled"),
            (Status::Rejected, _) => return conflict("booking_rejected"),
            (Status::Confirmed, _) | (_, Money::Paid | Money::Refunded) => return conflict("already_paid"),
            _ if booking.open.is_some() => return conflict("payment_in_progress"),
            (Status::Expired, _) => return conflict("booking_expired"),
            (Status::Pending, Money::Unpaid | Money::Failed) => {}
        }
        match card {
            Card::Good | Card::Silent => {
                booking.charges.push(price * i64::from(booking.seats));
                booking.confirm();
                CREATED
            }
            Card::Late | Card::LateDeclined => {
                booking.open = Some(card);
                ACCEPTED
            }
            Card::Declined | Card::Failing | Card::Unknown => {
                booking.money = Money::Failed;
                match card {
                    Card::Declined => (402, Some("card_declined")),
                    Card::Unknown => (422, Some("invalid_request")),
                    _ => (503, Some("payment_failed_before_charge")),
                }
            }
        }
    }

    fn cancel(&mut self, number: usize) -> Answer {
        let booking = &mut self.bookings[number];
        match booking.status {
            Status::Cancelled => OK,
            Status::Rejected => conflict("booking_rejected"),
            Status::Expired => conflict("booking_expired"),
            Status::Pending if booking.open.is_some() => conflict("payment_in_progress"),
            Status::Confirmed if booking.tickets.contains(&Ticket::Used) => conflict("already_checked_in"),
            Status::Pending | Status::Confirmed => {
                booking.cancel();
                OK
            }
        }
    }

    fn settle(&mut self, number: usize) {
        let Booking { person, event, seats, .. } = self.bookings[number];
        let allowed = self.person_limit(person, event, seats, true).is_none();
        let seats_left = !self.events[event].cancelled && allowed && seats <= self.available(event);
        let amount = self.events[event].price * i64::from(seats);
        let booking = &mut self.bookings[number];
        if booking.open.take() == Some(Card::LateDeclined) {
            if booking.money == Money::Unpaid {
                booking.money = Money::Failed;
            }
            return;
        }
        booking.charges.push(amount);
        match booking.status {
            Status::Pending => booking.confirm(),
            // Seats are won back if there are any.
            Status::Expired if seats_left => booking.confirm(),
            Status::Expired | Status::Cancelled | Status::Rejected | Status::Confirmed => booking.refund(),
        }
    }

    fn call_off(&mut self, event: usize) {
        if std::mem::replace(&mut self.events[event].cancelled, true) {
            return;
        }
        let alive = |booking: &&mut Booking| matches!(booking.status, Status::Pending | Status::Confirmed);
        self.bookings.iter_mut().filter(|booking| booking.event == event).filter(alive).for_each(Booking::cancel);
    }
}

impl Booking {
    fn new(person: usize, event: usize, seats: u32) -> Self {
        let (status, money) = (Status::Pending, Money::Unpaid);
        let (charges, refunds, tickets, told) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { person, event, seats, status, money, open: None, charges, refunds, tickets, told }
    }

    fn confirm(&mut self) {
        (self.status, self.money) = (Status::Confirmed, Money::Paid);
        self.tickets = (0..self.seats).map(|_| Ticket::Valid).collect();
        self.told.push("booking.confirmed");
    }

    fn expire(&mut self) {
        self.status = Status::Expired;
        self.told.push("booking.expired");
    }

    fn cancel(&mut self) {
        self.status = Status::Cancelled;
        self.tickets.fill(Ticket::Void);
        self.told.push("booking.cancelled");
        if !self.charges.is_empty() {
            self.refund();
        }
    }

    fn check_in(&mut self, seat: usize) -> Answer {
        match self.tickets[seat] {
            Ticket::Valid => {
                self.tickets[seat] = Ticket::Used;
                OK
            }
            Ticket::Used => conflict("already_checked_in"),
            Ticket::Void => conflict("ticket_void"),
        }
    }

    fn undo_check_in(&mut self, seat: usize) -> Answer {
        if self.tickets[seat] == Ticket::Void {
            return conflict("ticket_void");
        }
        self.tickets[seat] = Ticket::Valid;
        NO_CONTENT
    }

    fn refund(&mut self) {
        self.money = Money::Refunded;
        self.refunds.extend(self.charges.last());
        self.told.push("booking.refunded");
    }
}
