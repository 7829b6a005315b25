// Remembers the chosen language in the cookie `lang`, which takes precedence over Accept-Language.
for (const link of document.querySelectorAll("a[hreflang]")) {
  link.addEventListener("click", () => (document.cookie = `lang=${link.hreflang}; path=/; max-age=31536000; samesite=lax`));
}

document.querySelector("[data-any-language]").addEventListener("click", () => (document.cookie = "lang=; path=/; max-age=0; samesite=lax"));
