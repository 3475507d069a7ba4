/** The token that the server may require: the user enters it once, and it is kept until the tab is closed. */

const KEY = "lambda-spark-token";
let asking = null;
let isRefused = false; // by the user, until the page is loaded again

/** Return the token to send, or null. */
export function token() {
  return sessionStorage.getItem(KEY);
}

/** Forget the token that the server rejected, and ask the user for another. Returns whether there is one to try. */
export async function forgetToken(used) {
  if (token() !== used) return true; // entered meanwhile for another request
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
