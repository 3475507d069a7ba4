/** The page: its views by name, what every view shows, and the server's events. */

import { follow } from "./feed.js";
import { live } from "./live.js";
import { watchStream } from "./notice.js";
import { product } from "./product.js";
import { start } from "./router.js";
import { closeTipOnEscape } from "./tip.js";
import { trends } from "./trends.js";
import { user } from "./user.js";

const views = { trends, products: product, users: user, live };
const place = document.getElementById("view");

// The router would read a plain #view as the name of a view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  place.focus();
});
closeTipOnEscape();
watchStream();
start(views, place, "#/trends");
follow();
