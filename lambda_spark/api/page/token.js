/** The token that a server may ask for: asked of the user once, and kept until the tab is closed. */

const KEY = "lambda-spark-token";
let asking = null;
let isRefused = false; // until the page is loaded again

/** Return the token to send, or null. */
export function token() {
  return sessionStorage.getItem(KEY);
}

/** Take that the server refused the token `used`, and ask the user for another. Returns whether there is one to try. */
export async function forgetToken(used) {
  if (token() !== used) return true; // another question has been given a new one meanwhile
  if (isRefused) return false;
  sessionStorage.removeItem(KEY);
  asking ??= askUser().finally(() => (asking = null));
  return asking;
}

function askUser() {
  const dialog = document.getElementById("token-dialog");
  const form = document.getElementById("token-form");
  const input = document.getElementById("token");
  return new Promise((resolve) => {
    const ended = new AbortController();
    const { signal } = ended;
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        sessionStorage.setItem(KEY, input.value.trim());
        dialog.close();
      },
      { signal },
    );
    document.getElementById("token-cancel").addEventListener("click", () => dialog.close(), { signal });
    dialog.addEventListener(
      "close",
      () => {
        ended.abort();
        input.value = "";
        isRefused = token() === null;
        resolve(!isRefused);
      },
      { signal },
    );
    dialog.showModal();
  });
}
