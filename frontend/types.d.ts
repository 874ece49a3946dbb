// What the services send and take, for `tsc --noEmit` alone; nothing here reaches the browser.

declare namespace Api {
  interface User {
    id: number;
    email: string;
    name: string;
    role: "attendee" | "organizer" | "admin";
    requested_role?: string | null;
    /** Of the site and of notifications; absent until one was chosen. */
    language?: string;
    created_at: string;
  }

  /** Where somebody is logged in. */
  interface Session {
    id: string;
    current: boolean;
    browser?: string;
    operating_system?: string;
    created_at: string;
    last_used_at: string;
  }

  interface EventItem {
    id: string;
    title: string;
    description: string;
    venue: string;
    time_zone: string;
    starts_at: string;
    ends_at: string;
    capacity: number;
    available: number;
    held?: number;
    sold?: number;
    /** Per seat, minor units of `currency`; 0 is free. */
    price: number;
    currency: string;
    category?: string | null;
    image_url?: string | null;
    sales_start_at?: string | null;
    sales_end_at?: string | null;
    max_seats_per_booking?: number | null;
    /** Held and sold. */
    max_seats_per_person?: number | null;
    organizer_id: number;
    status: "draft" | "published" | "cancelled";
    /** Grows with every change. */
    version: number;
    /** When its organizer last changed it. */
    updated_at: string;
  }

  interface Booking {
    id: number;
    event_id: string;
    event_title?: string | null;
    event_starts_at?: string | null;
    seats: number;
    amount: number | null;
    currency: string | null;
    status: "Pending" | "Confirmed" | "Rejected" | "Cancelled" | "Expired";
    payment_status: "Unpaid" | "Paid" | "Failed" | "Refunded";
    expires_at: string | null;
    /** Only if it is confirmed; replicas of an older version do not say it. */
    cancellable_until?: string | null;
    created_at: string;
    cancel_reason?: "by_attendee" | "event_cancelled";
    /** Only if money goes or went back. */
    refund?: { state: string; amount: number };
    /** One for each seat once it is confirmed; replicas of an older version do not say it. */
    tickets?: Ticket[];
  }

  interface Ticket {
    id: number;
    /** The text of the QR code; null if it is void. */
    code: string | null;
    holder_name: string;
    state: "valid" | "used" | "void";
    checked_in_at: string | null;
  }

  /** A ticket as scanners load it. */
  interface ExpectedTicket {
    id: number;
    booking_id: number;
    /** What the code names. */
    code_id: string;
    holder_name: string;
    state: "valid" | "used" | "void";
    checked_in_at: string | null;
  }

  /** A public key that verifies codes (RFC 7517). */
  interface TicketKey extends JsonWebKey {
    kid: string;
  }

  interface DoorLink {
    id: number;
    label: string;
    expires_at: string;
  }

  /** Bookings in one currency: what stands, and what was cancelled since. */
  interface Takings {
    currency: string;
    seats: number;
    amount: number;
    cancelled_seats: number;
    cancelled_amount: number;
  }

  interface DaySales extends Takings {
    date: string;
  }

  interface EventSales extends Takings {
    event_id: string;
  }

  interface Sales {
    event_id: string;
    time_zone: string;
    totals: Takings[];
    days: DaySales[];
  }

  interface Attendee {
    booking_id: number;
    /** Empty once the account is deleted; `email` too. */
    name: string;
    email: string;
    seats: number;
    amount: number;
    currency: string;
    status: Booking["status"];
    created_at: string;
  }

  /** How payments are made; the key only with Stripe. */
  interface PaymentConfig {
    provider: "mock" | "stripe";
    publishable_key?: string;
  }

  interface Payment {
    id: number | string;
    booking_id: number;
    status: "Processing" | "Succeeded" | "Failed" | "Refunded";
    failure?: { code: string; message: string };
  }

  interface Notification {
    id: string;
    type: string;
    booking_id: number | null;
    event_id: string | null;
    title: string;
    body: string;
    read_at: string | null;
    created_at: string;
  }

  interface Page<T> {
    items: T[];
    next_cursor: string | null;
  }

  interface Notifications extends Page<Notification> {
    unread_count: number;
  }

  /** RFC 9457. */
  interface Problem {
    status: number;
    code: string;
    title?: string;
    detail?: string;
    errors?: { field: string; message: string }[];
    /** Of a ticket that was checked in before. */
    checked_in_at?: string;
    device?: string | null;
  }
}

/** The full keys of nested texts, such as `event.left.one`. */
type TextKeys<T, P extends string = ""> = {
  [K in keyof T]: T[K] extends string ? `${P}${K & (string | number)}` : TextKeys<T[K], `${P}${K & (string | number)}.`>;
}[keyof T];

/** What the router hands to a page. */
interface PageParams {
  /** The `{id}` of the path, or "". */
  id: string;
  query: URLSearchParams;
  /** Aborted when the visitor leaves the page. */
  signal: AbortSignal;
  /** Whether the visitor came back by the browser's buttons. */
  restored: boolean;
}

interface PageModule {
  render(root: HTMLElement, params: PageParams): void | Promise<void>;
}

/** The class of the element that `h("tag.class")` makes. */
type TagOf<S> = S extends `${infer Tag}.${string}` ? Tag : S;
type ElementOf<S> = TagOf<S> extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[TagOf<S>] : HTMLElement;

/** <https://wicg.github.io/shape-detection-api/>, which not every browser has. */
declare var BarcodeDetector: BarcodeDetectorClass | undefined;
interface BarcodeDetectorClass {
  new (options: { formats: "qr_code"[] }): BarcodeDetector;
  getSupportedFormats(): Promise<readonly string[]>;
}
interface BarcodeDetector {
  detect(source: HTMLVideoElement): Promise<{ rawValue: string }[]>;
}

/** The part of Stripe.js that `stripe.js` uses. */
declare function Stripe(
  publishableKey: string,
  options: { locale: string },
): {
  elements(options: Record<string, unknown>): StripeElements;
  createPaymentMethod(form: { elements: StripeElements }): Promise<StripeResult>;
};
interface StripeElements {
  create(kind: "payment"): { mount(place: HTMLElement): void };
  submit(): Promise<StripeResult>;
}
interface StripeResult {
  error?: { message: string };
  paymentMethod?: { id: string };
}
