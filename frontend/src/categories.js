// The categories of events. Services compare them without case, and so does the site.

const COMMON = ["music", "theatre", "arts", "film", "talks", "technology", "food", "sports", "family"];

/** The common category that `category` stands for in any case, if it does. @param {string} category */
export const commonCategory = (category) => COMMON.find((name) => name === category.toLowerCase());

/**
 * The common categories, and `stored`: in its own case if it is one of them, or else at the end.
 * @param {string | null} [stored]
 */
export function categories(stored) {
  if (!stored) return COMMON;
  const common = commonCategory(stored);
  return common ? COMMON.map((name) => (name === common ? stored : name)) : [...COMMON, stored];
}
