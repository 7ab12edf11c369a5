import type { MouseEvent, ReactElement } from 'react';

/** An item as the server shows it, with what `fetchItemDetails` added. */
export interface RecommendedItem {
  item_id: string;
  score: number;
  source: string;
  fallback: boolean;
  title?: string | null;
  category?: string | null;
  brand?: string | null;
  price?: number | null;
  img_url?: string | null;
  url?: string | null;
  [more: string]: unknown;
}

export interface RecommendationCarouselProps {
  /** Where recsys serve listens: "http://127.0.0.1:8000". */
  apiUrl: string;
  /** The customer; needs a key of the shop, or leave it out and give sessionId. */
  userId?: string;
  /** The guest's session, or the customer's present one. */
  sessionId?: string;
  /** Items to show. Default 10. */
  count?: number;
  /** The heading. Default: what the list is. */
  title?: string;
  /** Of the section. */
  className?: string;
  /** Of the list. */
  containerClassName?: string;
  /** Of each card. */
  cardClassName?: string;
  onItemClick?: (item: RecommendedItem, event: MouseEvent<HTMLElement>) => void;
  /** What the shop knows of an item; goes before what the recommender does. */
  fetchItemDetails?: (itemId: string) => Promise<Partial<RecommendedItem> | null | undefined>;
  /** Where the list stands; reports tell placements apart. */
  placement?: string;
  apiKey?: string;
  /** What may be used and reported: "none", "session" or "full". Without it nothing is reported. */
  consent?: 'none' | 'session' | 'full';
  /** ISO code: "EUR". */
  currency?: string;
  onError?: (error: Error) => void;
}

export function RecommendationCarousel(props: RecommendationCarouselProps): ReactElement | null;
export default RecommendationCarousel;
