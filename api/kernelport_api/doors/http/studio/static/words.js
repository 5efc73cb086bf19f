// All that the page says. A view has an object of its own.

export const words = {
  name: "KernelPort",
  navigation: "Views",
  skip: "Skip to the content",
  cancel: "Cancel",
  close: "Close",
  delete: "Delete",
  views: { speak: "Speak", voices: "Voices", jobs: "Jobs", operate: "Operate" },
  errors: {
    away: "The server cannot be reached. Check that it runs, then try again.",
    banner: "The server cannot be reached. What you see may be old; the page goes on by itself once it is back.",
    requestId: "Request",
    status: (status) => `The server answered with status ${status}. Try again; its log has the details.`,
  },
  signIn: {
    title: "Sign in",
    text: "This server wants to know who you are. Enter a key that its operator has made for you.",
    key: "Key",
    action: "Sign in",
  },
  speak: { title: "Speak" },
  voices: { title: "Voices" },
  jobs: { title: "Jobs" },
  operate: { title: "Operate" },
};
